"""Prints the tokens that Microsoft's Python libraries make.

Reads from standard input {"now": seconds, "cases": [...]}; prints a JSON list of tokens. The time
stands still at "now", and every token lives for an hour.
"""

import json
import os
import sys
import time

from azure.eventhub import EventHubProducerClient
from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, ProvisioningDeviceClient


def device(case):
    client = IoTHubDeviceClient.create_from_symmetric_key(
        case["key"], case["hub"], case["device"], sastoken_ttl=3600
    )
    return str(client._mqtt_pipeline._nucleus.pipeline_configuration.sastoken)


def module(case):
    client = IoTHubModuleClient.create_from_connection_string(
        "HostName={hub};DeviceId={device};ModuleId={module};SharedAccessKey={key}".format(**case),
        sastoken_ttl=3600,
    )
    return str(client._mqtt_pipeline._nucleus.pipeline_configuration.sastoken)


def registration(case):
    client = ProvisioningDeviceClient.create_from_symmetric_key(
        "global.azure-devices-provisioning.net",
        case["registration"],
        case["id_scope"],
        case["key"],
        sastoken_ttl=3600,
    )
    return str(client._pipeline._nucleus.pipeline_configuration.sastoken)


def event_hub(case):
    client = EventHubProducerClient.from_connection_string(
        "Endpoint=sb://{namespace}/;SharedAccessKeyName={policy};SharedAccessKey={key}".format(
            **case
        ),
        eventhub_name=case["entity"],
    )
    return client._credential.get_token(client._auth_uri).token


MAKE = {"device": device, "module": module, "registration": registration, "event_hub": event_hub}

work = json.load(sys.stdin)
time.time = lambda: work["now"]
tokens = [MAKE[case["kind"]](case) for case in work["cases"]]
json.dump(tokens, sys.stdout)
sys.stdout.flush()
# The libraries keep threads, which need not be waited for.
os._exit(0)
