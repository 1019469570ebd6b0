//! What the proxy can be told to do to a command, and to which.

use std::time::Duration;

/// What becomes of a command, or of the TPM's response to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The proxy answers with this bare response code; the TPM does not see the command.
    Answer(u32),
    /// The proxy answers with bytes that are no response; the TPM does not see the command.
    Garbage,
    /// The connection is closed; the TPM does not see the command.
    Close,
    /// The command is passed on after this long.
    Delay(Duration),
    /// One bit in the middle of the response is flipped.
    Alter,
    /// The response ends in its middle, and the connection is closed.
    Truncate,
    /// The response says that it has this many bytes.
    Resize(u32),
    /// The response says that it has one byte more than it has, for which a client waits.
    Promise,
}

/// To which commands a deed is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// The command code (TPM 2.0 Part 2, table 12); `None` for every command.
    pub command: Option<u32>,
    /// How many of these commands pass before the first that is hit.
    pub skip: u32,
    /// How many are hit after that.
    pub times: u32,
}

/// A deed that is still to be done.
#[derive(Debug)]
struct Order {
    aim: Aim,
    deed: Deed,
}

/// Deeds to be done; the first that a command fits is the one that it meets.
#[derive(Debug, Default)]
pub(super) struct Orders(Vec<Order>);

impl Orders {
    pub(super) fn add(&mut self, aim: Aim, deed: Deed) {
        self.0.push(Order { aim, deed });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What to do to a command that has come.
    pub(super) fn meet(&mut self, command: u32) -> Option<Deed> {
        let fits = |aim: &Aim| aim.command.is_none_or(|it| it == command) && aim.times > 0;
        let order = self.0.iter_mut().find(|order| fits(&order.aim))?;
        if order.aim.skip > 0 {
            order.aim.skip -= 1;
            return None;
        }
        order.aim.times -= 1;
        Some(order.deed)
    }
}

impl Deed {
    /// What the proxy answers in the TPM's place, if it does.
    pub(super) fn own_answer(self) -> Option<Vec<u8>> {
        match self {
            Self::Answer(code) => {
                let mut response = vec![0x80, 0x01, 0, 0, 0, 10];
                response.extend(code.to_be_bytes());
                Some(response)
            }
            Self::Garbage => Some(vec![0xA5; 64]),
            Self::Close
            | Self::Delay(_)
            | Self::Alter
            | Self::Truncate
            | Self::Resize(_)
            | Self::Promise => None,
        }
    }

    /// Falsifies the TPM's response.
    pub(super) fn falsify(self, response: &mut Vec<u8>) {
        match self {
            Self::Alter => {
                let middle = response.len() / 2;
                if let Some(byte) = response.get_mut(middle) {
                    *byte ^= 1;
                }
            }
            Self::Truncate => response.truncate(response.len() / 2),
            Self::Resize(bytes) => resize(response, bytes),
            Self::Promise => {
                let more = response.len().saturating_add(1);
                resize(response, u32::try_from(more).unwrap_or(u32::MAX));
            }
            Self::Answer(_) | Self::Garbage | Self::Close | Self::Delay(_) => {}
        }
    }
}

/// Writes another size into a response's header (TPM 2.0 Part 1, 18.1).
fn resize(response: &mut [u8], bytes: u32) {
    if let Some(field) = response.get_mut(2..6) {
        field.copy_from_slice(&bytes.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_commands_aimed_at_are_hit() {
        let mut orders = Orders::default();
        orders.add(Aim { command: Some(7), skip: 2, times: 1 }, Deed::Close);
        let met: Vec<_> = [7, 8, 7, 7, 7].map(|command| orders.meet(command)).to_vec();
        assert_eq!(met, [None, None, None, Some(Deed::Close), None]);
        orders.add(Aim { command: None, skip: 0, times: 1 }, Deed::Alter);
        assert_eq!((orders.meet(9), orders.meet(9)), (Some(Deed::Alter), None));
    }

    #[test]
    fn responses_are_falsified_as_told() {
        let falsified = |deed: Deed| {
            let mut response = vec![0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 1, 2];
            deed.falsify(&mut response);
            response
        };
        assert_eq!(falsified(Deed::Truncate).len(), 6);
        assert_eq!(falsified(Deed::Promise)[5], 13);
        assert_eq!(falsified(Deed::Resize(u32::MAX))[2..6], [0xFF; 4]);
        assert_eq!(falsified(Deed::Alter)[6], 1);
        assert_eq!(falsified(Deed::Delay(Duration::ZERO))[5], 12);
    }
}
