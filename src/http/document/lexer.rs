//! Text to tokens, by the letter of the GraphQL specification: whatever passes here, async-graphql's
//! parser splits at the same places.

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// One of `! $ & ( ) : = @ [ ] { | }`.
    Mark(u8),
    /// `...`
    Spread,
    Name(&'a str),
    Number,
    /// A string or block string, as it is written between its quotes.
    Text(&'a str),
}

/// Reads tokens from left to right.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Where the latest token begins.
    from: usize,
}

const QUOTES: &[u8] = b"\"\"\"";

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, from: 0 }
    }

    /// Where the last token ended, in bytes.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The line and column, from 1, of the latest token.
    pub fn position(&self) -> (usize, usize) {
        let before = &self.text.as_bytes()[..self.from];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|b| **b != b'\n').filter(|b| is_start(**b)).count() + 1;
        (line, column)
    }

    /// The next token. An error says what is wrong there.
    pub fn next(&mut self) -> Result<Option<Token<'a>>, &'static str> {
        self.skip();
        self.from = self.at;
        let Some(first) = self.peek(0) else { return Ok(None) };
        match first {
            b'!' | b'$' | b'&' | b'(' | b')' | b':' | b'=' | b'@' | b'[' | b']' | b'{' | b'|' | b'}' => {
                self.at += 1;
                Ok(Some(Token::Mark(first)))
            }
            b'.' if self.rest().starts_with(b"...") => {
                self.at += 3;
                Ok(Some(Token::Spread))
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let from = self.at;
                self.pass(|b| b.is_ascii_alphanumeric() || b == b'_');
                Ok(Some(Token::Name(&self.text[from..self.at])))
            }
            b'-' | b'0'..=b'9' => self.number().map(Some),
            b'"' if self.rest().starts_with(QUOTES) => self.block().map(Some),
            b'"' => self.string().map(Some),
            _ => Err("a character that means nothing here"),
        }
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    /// Goes on while `wanted`; how many that were.
    fn pass(&mut self, wanted: impl Fn(u8) -> bool) -> usize {
        let from = self.at;
        while self.peek(0).is_some_and(&wanted) {
            self.at += 1;
        }
        self.at - from
    }

    /// White space, commas, byte order marks and comments.
    fn skip(&mut self) {
        loop {
            match self.peek(0) {
                Some(b' ' | b'\t' | b'\n' | b'\r' | b',') => self.at += 1,
                Some(b'#') => {
                    self.pass(|b| b != b'\n' && b != b'\r');
                }
                Some(_) if self.rest().starts_with("\u{feff}".as_bytes()) => self.at += 3,
                _ => return,
            }
        }
    }

    /// Strict, because `[000]` would be three values to async-graphql.
    fn number(&mut self) -> Result<Token<'a>, &'static str> {
        const WRONG: &str = "not a number";
        if self.peek(0) == Some(b'-') {
            self.at += 1;
        }
        let zero = self.peek(0) == Some(b'0');
        let digits = self.pass(|b| b.is_ascii_digit());
        if digits == 0 || (zero && digits > 1) {
            return Err(WRONG);
        }
        if self.peek(0) == Some(b'.') {
            self.at += 1;
            if self.pass(|b| b.is_ascii_digit()) == 0 {
                return Err(WRONG);
            }
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(0), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.pass(|b| b.is_ascii_digit()) == 0 {
                return Err(WRONG);
            }
        }
        match self.peek(0) {
            Some(b'.' | b'_' | b'a'..=b'z' | b'A'..=b'Z') => Err(WRONG),
            _ => Ok(Token::Number),
        }
    }

    fn string(&mut self) -> Result<Token<'a>, &'static str> {
        self.at += 1;
        let from = self.at;
        loop {
            match self.peek(0) {
                None | Some(b'\n' | b'\r') => return Err("a string without its end"),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Token::Text(&self.text[from..self.at - 1]));
                }
                Some(b'\\') => self.escape()?,
                Some(b) if b < b' ' && b != b'\t' => return Err("a control character in a string"),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), &'static str> {
        const WRONG: &str = "an escape that does not exist";
        match self.peek(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let digits = self.rest().get(2..6).and_then(|hex| std::str::from_utf8(hex).ok()).ok_or(WRONG)?;
                let all_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
                // Half of a surrogate pair is no character, and async-graphql reads no pairs.
                let scalar = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                if !all_hex || scalar.is_none() {
                    return Err(WRONG);
                }
                self.at += 6;
            }
            _ => return Err(WRONG),
        }
        Ok(())
    }

    fn block(&mut self) -> Result<Token<'a>, &'static str> {
        self.at += QUOTES.len();
        let from = self.at;
        loop {
            let rest = self.rest();
            match rest.first() {
                None => return Err("a block string without its end"),
                Some(b'"') if rest.starts_with(QUOTES) => {
                    self.at += QUOTES.len();
                    return Ok(Token::Text(&self.text[from..self.at - QUOTES.len()]));
                }
                Some(b'\\') if rest[1..].starts_with(QUOTES) => self.at += 1 + QUOTES.len(),
                Some(b) if *b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r') => {
                    return Err("a control character in a string");
                }
                Some(_) => self.at += 1,
            }
        }
    }
}

/// The first byte of a character.
fn is_start(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}
