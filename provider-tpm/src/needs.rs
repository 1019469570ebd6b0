//! What a TCTI needs of the machine.

use provider_core::{Need, Needs};

use crate::tcti::{Reach, Tcti};

/// Where the system's bus is, when its variable does not say.
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

/// What reaching a TPM needs beyond what every program reads.
pub(crate) fn of(tcti: &Tcti) -> Needs {
    Needs(match &tcti.reach {
        Reach::Device { path } => vec![Need::Device(path.clone())],
        Reach::Emulator { host, port } => {
            let mut needs = vec![Need::Tcp(*port), Need::Tcp(port.saturating_add(1))];
            if host != "localhost" && host.parse::<std::net::IpAddr>().is_err() {
                needs.push(Need::Names);
            }
            needs
        }
        Reach::Broker { session } => {
            let variable =
                if *session { "DBUS_SESSION_BUS_ADDRESS" } else { "DBUS_SYSTEM_BUS_ADDRESS" };
            let default = if *session { "" } else { SYSTEM_BUS };
            let mut needs = buses(&environment(variable).unwrap_or_else(|| default.to_owned()));
            needs.push(Need::Read("/var/lib/dbus/machine-id".to_owned()));
            needs
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "the bus is where GLib looks for it")]
fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// The sockets of a D-Bus address (D-Bus specification, "Server Addresses").
fn buses(addresses: &str) -> Vec<Need> {
    let options = addresses.split(';').filter_map(|address| address.strip_prefix("unix:"));
    let options = options.flat_map(|options| options.split(','));
    let socket = |option: &str| match option.split_once('=') {
        Some(("path", path)) if path.starts_with('/') => Some(Need::Unix(path.to_owned())),
        Some(("abstract", name)) => Some(Need::Unix(format!("@{name}"))),
        Some(_) | None => None,
    };
    options.filter_map(socket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tcti: &str, lines: &[&str]) {
        let said = of(&Tcti::parse(tcti).unwrap()).to_string();
        assert_eq!(said.lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn device_is_a_device() {
        check("device", &["device /dev/tpmrm0"]);
        check("device:/dev/tpm0", &["device /dev/tpm0"]);
    }

    #[test]
    fn emulator_is_two_ports() {
        check("swtpm:port=7000", &["connect tcp 7000", "connect tcp 7001"]);
        check("mssim", &["connect tcp 2321", "connect tcp 2322"]);
        check("swtpm:host=127.0.0.1", &["connect tcp 2321", "connect tcp 2322"]);
    }

    #[test]
    fn emulator_of_a_name_wants_it_resolved() {
        let lines = ["connect tcp 2321", "connect tcp 2322", "resolve names"];
        check("swtpm:host=tpm.example", &lines);
    }

    #[test]
    fn broker_is_its_bus() {
        let lines = ["connect unix /run/dbus/system_bus_socket", "read /var/lib/dbus/machine-id"];
        check("tabrmd", &lines);
    }

    #[test]
    fn bus_addresses_are_read() {
        let check = |address, needs: &[Need]| assert_eq!(buses(address), needs, "{address}");
        check("unix:path=/tmp/a,guid=12", &[Need::Unix("/tmp/a".into())]);
        check("unix:abstract=/tmp/b,guid=1", &[Need::Unix("@/tmp/b".into())]);
        check("tcp:host=a;unix:path=/c", &[Need::Unix("/c".into())]);
        check("", &[]);
    }
}
