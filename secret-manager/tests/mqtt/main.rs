//! The MQTT source against a real broker (mosquitto), with the test playing the cloud.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]
#![expect(clippy::panic, reason = "the helpers of a test fail it as it does itself")]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as it does itself")]

mod cloud;
mod device;
mod hub;
mod link;
mod push;
mod request;
mod store;
