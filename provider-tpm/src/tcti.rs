//! Where the TPM is: the TCTI text, parsed strictly here because tss-esapi 7 reads texts that it
//! does not know as `localhost:2321`.

/// The kernel's resource manager; `/dev/tpm0` would be for one program alone.
pub(crate) const DEFAULT: &str = "device:/dev/tpmrm0";

/// Longest text, in bytes: faults repeat parts of it.
const TEXT_MAX_BYTES: usize = 256;

/// A checked TCTI text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tcti {
    /// The text in the form that tss-esapi reads as it stands.
    pub(crate) text: String,
    /// What it leads to.
    pub(crate) reach: Reach,
}

/// What stands at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A device node.
    Device {
        /// Its path.
        path: String,
    },
    /// An emulator on a TCP port.
    Emulator {
        /// A name or an address.
        host: String,
        /// The port for commands; the control port is the next one.
        port: u16,
    },
    /// The access broker daemon.
    Broker {
        /// Whether it is on the session's bus, else on the system's.
        session: bool,
    },
}

impl Tcti {
    /// Reads a TCTI text.
    ///
    /// # Limits
    /// 256 bytes.
    ///
    /// # Errors
    /// A sentence that names what is wrong and what is accepted.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_MAX_BYTES {
            return Err(format!("{} bytes exceed the limit of {TEXT_MAX_BYTES}", text.len()));
        }
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        match name {
            "device" => device(rest),
            "swtpm" | "mssim" => emulator(name, rest),
            "tabrmd" => broker(rest),
            _ => Err(format!("{name:?} is not one of device, swtpm, mssim, tabrmd")),
        }
    }

    /// Whether a resource manager stands between us and the TPM, which swaps objects and
    /// sessions and removes what a program leaves behind.
    pub(crate) fn is_managed(&self) -> bool {
        match &self.reach {
            Reach::Device { path } => {
                path.rsplit('/').next().is_some_and(|name| name.starts_with("tpmrm"))
            }
            Reach::Emulator { .. } => false,
            Reach::Broker { .. } => true,
        }
    }
}

fn device(path: &str) -> Result<Tcti, String> {
    let text = if path.is_empty() { DEFAULT.to_owned() } else { format!("device:{path}") };
    let path = text.split_at("device:".len()).1.to_owned();
    if !path.starts_with('/') || path.contains('\0') {
        return Err(format!("device path {path:?} is not absolute"));
    }
    Ok(Tcti { text, reach: Reach::Device { path } })
}

fn emulator(name: &str, rest: &str) -> Result<Tcti, String> {
    if rest.split(',').any(|option| option.starts_with("path=")) {
        return Err(format!(
            "{name}:path= is not supported, because tss-esapi 7 would read it as \
             localhost:2321; give host= and port="
        ));
    }
    let [host, port] = options(rest, ["host", "port"])?;
    let host = host.unwrap_or("localhost");
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host) {
        return Err(format!("host {host:?} is neither a name nor an address"));
    }
    let port = port.unwrap_or("2321");
    let number = port.parse::<u16>().ok().filter(|number| (1..u16::MAX).contains(number));
    let number = number.ok_or_else(|| format!("port {port:?} is not a number from 1 to 65534"))?;
    let reach = Reach::Emulator { host: host.to_owned(), port: number };
    Ok(Tcti { text: format!("{name}:host={host},port={number}"), reach })
}

fn broker(rest: &str) -> Result<Tcti, String> {
    let [name, bus] = options(rest, ["bus_name", "bus_type"])?;
    let name = name.unwrap_or("com.intel.tss2.Tabrmd");
    let bus = bus.unwrap_or("system");
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(format!("bus_name {name:?} is not a D-Bus name"));
    }
    if !["system", "session"].contains(&bus) {
        return Err(format!("bus_type {bus:?} is neither system nor session"));
    }
    let reach = Reach::Broker { session: bus == "session" };
    Ok(Tcti { text: format!("tabrmd:bus_name={name},bus_type={bus}"), reach })
}

/// Takes `key=value` pairs of known keys, each at most once.
fn options<'a>(rest: &'a str, keys: [&str; 2]) -> Result<[Option<&'a str>; 2], String> {
    let mut values = [None, None];
    for option in rest.split(',').filter(|_| !rest.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let place = keys.iter().position(|known| *known == key);
        let place = place.and_then(|place| values.get_mut(place));
        let Some(place) = place else {
            return Err(format!("{key:?} is not one of {}", keys.join(", ")));
        };
        if place.replace(value).is_some() {
            return Err(format!("{key} stands twice"));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        match (Tcti::parse(text), expected) {
            (Ok(tcti), Ok(expected)) => assert_eq!(tcti.text, expected),
            (Err(said), Err(expected)) => assert!(said.contains(expected), "{said}"),
            (seen, _) => panic!("{text}: {seen:?}"),
        }
    }

    #[test]
    fn text_at_the_limit_is_read_and_one_past_is_refused() {
        let at = format!("device:/{}", "a".repeat(248));
        check(&at, Ok(&at));
        check(&format!("{at}a"), Err("257 bytes exceed the limit of 256"));
    }

    #[test]
    fn device_without_path_is_the_resource_manager() {
        check("device", Ok("device:/dev/tpmrm0"));
        assert!(Tcti::parse("device").unwrap().is_managed());
    }

    #[test]
    fn device_with_path_is_taken() {
        check("device:/dev/tpm0", Ok("device:/dev/tpm0"));
        assert!(!Tcti::parse("device:/dev/tpm0").unwrap().is_managed());
    }

    #[test]
    fn relative_device_path_is_refused() {
        check("device:tpm0", Err("not absolute"));
    }

    #[test]
    fn emulator_options_are_taken_in_any_order() {
        check("swtpm:port=1234,host=127.0.0.1", Ok("swtpm:host=127.0.0.1,port=1234"));
        check("mssim", Ok("mssim:host=localhost,port=2321"));
    }

    #[test]
    fn emulator_path_is_refused_with_the_reason() {
        check("swtpm:path=/run/swtpm.sock", Err("would read it as localhost:2321"));
    }

    #[test]
    fn unknown_and_double_options_are_refused() {
        check("swtpm:prt=1", Err("\"prt\" is not one of host, port"));
        check("swtpm:port=1,port=2", Err("port stands twice"));
        check("swtpm:host=a,", Err("\"\" is not one of"));
    }

    #[test]
    fn port_has_limits() {
        check("swtpm:port=65534", Ok("swtpm:host=localhost,port=65534"));
        check("swtpm:port=65535", Err("1 to 65534"));
        check("swtpm:port=0", Err("1 to 65534"));
    }

    #[test]
    fn host_with_odd_characters_is_refused() {
        check("swtpm:host=a b", Err("neither a name nor an address"));
        check("swtpm:host=", Err("neither a name nor an address"));
    }

    #[test]
    fn broker_has_defaults_and_is_managed() {
        check("tabrmd", Ok("tabrmd:bus_name=com.intel.tss2.Tabrmd,bus_type=system"));
        check(
            "tabrmd:bus_type=session",
            Ok("tabrmd:bus_name=com.intel.tss2.Tabrmd,bus_type=session"),
        );
        check("tabrmd:bus_type=user", Err("neither system nor session"));
        assert!(Tcti::parse("tabrmd").unwrap().is_managed());
    }

    #[test]
    fn unknown_transport_is_refused() {
        check("cmd:nc host 1", Err("\"cmd\" is not one of"));
        check("", Err("\"\" is not one of"));
    }
}
