//! The gateway: does a number at most once, whenever the request arrives.

/// What the gateway knows, by key and number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gateway {
    /// Where each number stands.
    pub numbers: [[Told; 2]; 2],
    /// A request for it is still on its way; nobody waits for the answer any more.
    pub late: [[bool; 2]; 2],
}

/// What a question about a number is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Told {
    /// Not found.
    #[default]
    Absent,
    /// Known; the money has not moved yet.
    Open,
    /// The money has moved.
    Paid,
    /// It will never move.
    Closed,
}

impl Gateway {
    /// A request arrives. A number that is known is not done again. A refund beyond what was paid is not taken:
    /// `room` is how many numbers the money suffices for.
    pub fn take(&mut self, key: usize, number: usize, room: usize) {
        let moving = self.numbers.iter().flatten().filter(|n| matches!(n, Told::Open | Told::Paid)).count();
        if self.numbers[key][number] == Told::Absent && moving < room {
            self.numbers[key][number] = Told::Open;
        }
    }
}
