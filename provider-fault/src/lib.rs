//! The fault plugin: stands in front of another plugin, passes every call on, and injects the
//! faults that a plan names. For authors of plugins and for tests; `docs/fault-plugin.md` is the
//! page of its settings and its plan.
//!
//! It knows the contract and no device. `boundary` is the C side of it, `plan` the language,
//! `faults` what a call of now gets, `journal` how calls are counted across restarts, `answer` how
//! each answer is spoilt, `provider` passes each verb on.

mod answer;
mod boundary;
mod faults;
mod journal;
mod plan;
mod provider;
mod trust;

pub use boundary::sealhost_provider;
pub use plan::{Fault, Plan, PlanError, Rule, Select, Verb};
pub use provider::FaultProvider;
