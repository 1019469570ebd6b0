//! What a provider needs of the machine, so that the process that runs it is left no more: lines
//! of a closed vocabulary (`docs/abi.md` section 6, `needs`).

use std::fmt;
use std::str::FromStr;

use crate::error::{ProviderError, Result};
use crate::key::NEEDS_MAX_BYTES;

/// One thing that a provider needs beyond what every program reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// `read PATH`: a file, or a directory and all beneath it, to be read.
    Read(String),
    /// `write PATH`: the same, to be read, written, made and removed.
    Write(String),
    /// `device PATH`: a device, to be read, written and controlled.
    Device(String),
    /// `connect tcp PORT`: TCP connections to a port of any machine.
    Tcp(u16),
    /// `connect unix PATH`, or `connect unix @NAME` for an abstract one: a Unix socket.
    Unix(String),
    /// `resolve names`: datagrams to name servers.
    Names,
}

/// All that a provider needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs(pub Vec<Need>);

impl Needs {
    /// Reads them from text, a line each; empty text is nothing.
    ///
    /// # Limits
    /// [`NEEDS_MAX_BYTES`].
    ///
    /// # Errors
    /// `InvalidParameter`, with the line that is none of the vocabulary.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > NEEDS_MAX_BYTES {
            return Err(ProviderError::over_limit("needs", text.len(), NEEDS_MAX_BYTES));
        }
        text.lines().map(str::parse).collect::<Result<_>>().map(Self)
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|need| writeln!(formatter, "{need}"))
    }
}

impl FromStr for Need {
    type Err = ProviderError;

    fn from_str(line: &str) -> Result<Self> {
        let foreign = || ProviderError::invalid(format!("{line:?} is no need"));
        if line.chars().any(char::is_control) {
            return Err(foreign());
        }
        let (word, rest) = line.split_once(' ').ok_or_else(foreign)?;
        let path = |text: &str| text.starts_with('/').then(|| text.to_owned()).ok_or_else(foreign);
        match word {
            "read" => path(rest).map(Self::Read),
            "write" => path(rest).map(Self::Write),
            "device" => path(rest).map(Self::Device),
            "resolve" if rest == "names" => Ok(Self::Names),
            "connect" => match rest.split_once(' ') {
                Some(("tcp", port)) => match port.parse() {
                    Ok(port) if port > 0 => Ok(Self::Tcp(port)),
                    Ok(_) | Err(_) => Err(foreign()),
                },
                Some(("unix", name)) if name.len() > 1 && name.starts_with('@') => {
                    Ok(Self::Unix(name.to_owned()))
                }
                Some(("unix", name)) => path(name).map(Self::Unix),
                Some(_) | None => Err(foreign()),
            },
            _ => Err(foreign()),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path) => write!(formatter, "read {path}"),
            Self::Write(path) => write!(formatter, "write {path}"),
            Self::Device(path) => write!(formatter, "device {path}"),
            Self::Tcp(port) => write!(formatter, "connect tcp {port}"),
            Self::Unix(path) => write!(formatter, "connect unix {path}"),
            Self::Names => formatter.write_str("resolve names"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<Need>) {
        let parsed = Needs::parse(line).ok();
        assert_eq!(parsed, expected.clone().map(|need| Needs(vec![need])), "{line:?}");
        if let Some(need) = expected {
            assert_eq!(need.to_string(), line);
        }
    }

    #[test]
    fn every_word_returns_to_itself() {
        check("read /usr/lib/a b.so", Some(Need::Read("/usr/lib/a b.so".into())));
        check("write /var/lib/tokens", Some(Need::Write("/var/lib/tokens".into())));
        check("device /dev/tpmrm0", Some(Need::Device("/dev/tpmrm0".into())));
        check("connect tcp 1", Some(Need::Tcp(1)));
        check("connect tcp 65535", Some(Need::Tcp(65535)));
        check("connect unix /run/bus", Some(Need::Unix("/run/bus".into())));
        check("connect unix @bus", Some(Need::Unix("@bus".into())));
        check("resolve names", Some(Need::Names));
    }

    #[test]
    fn what_is_not_in_the_vocabulary_is_refused() {
        for line in [
            "read",
            "read ",
            "read usr",
            "Read /usr",
            "execute /bin/sh",
            "connect tcp 0",
            "connect tcp 65536",
            "connect tcp -1",
            "connect udp 53",
            "connect unix",
            "connect unix bus",
            "connect unix @",
            "resolve",
            "resolve all",
            " read /usr",
            "read /a\tb",
            "read /a\0",
        ] {
            check(line, None);
        }
        assert!(Needs::parse("read /usr\n\nread /lib\n").is_err(), "an empty line");
    }

    #[test]
    fn several_lines_are_several_needs_and_none_is_none() {
        let text = "read /usr\nconnect tcp 2321\n";
        assert_eq!(Needs::parse(text).unwrap().to_string(), text);
        assert_eq!(Needs::parse("").unwrap(), Needs::default());
    }

    #[test]
    fn text_at_the_limit_passes_and_one_past_does_not() {
        let text = format!("read /{}", "x".repeat(NEEDS_MAX_BYTES - 6));
        assert!(Needs::parse(&text).is_ok());
        assert!(Needs::parse(&format!("{text}x")).is_err());
    }
}
