//! A TCP proxy in front of an HTTP server: it refuses, drops, delays and loses answers by a seeded plan.
//!
//! One connection carries one request, so that a dropped connection costs exactly one answer. It understands
//! bodies with a `Content-Length`, which is what S3 clients send.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quipu::runtime::{Clock, Dice, Pools};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::shuffle;

/// Longer than quipu waits for one try.
const HANG: Duration = Duration::from_secs(4);
/// The longest delay, ms. Shorter than quipu waits.
const DELAY_MS: u64 = 800;

/// How the server seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Every request is answered.
    Well,
    /// One of three requests goes wrong in one way or another.
    Erring,
    /// Nothing is answered, and nothing reaches the server.
    Down,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    Pass,
    Delay,
    Answer500,
    Answer503,
    DropBefore,
    HangBefore,
    /// Done, and the connection ends.
    DropAfter,
    /// Done, and no answer comes within the client's patience.
    HangAfter,
    /// Done, and the answer is 500.
    LieAfter,
}

/// What costs seconds is rarer.
const GOES_WRONG: [Act; 14] = [
    Act::Delay,
    Act::Delay,
    Act::Answer500,
    Act::Answer500,
    Act::Answer503,
    Act::Answer503,
    Act::DropBefore,
    Act::DropBefore,
    Act::HangBefore,
    Act::DropAfter,
    Act::DropAfter,
    Act::HangAfter,
    Act::LieAfter,
    Act::LieAfter,
];
const IS_DOWN: [Act; 4] = [Act::Answer503, Act::DropBefore, Act::Answer500, Act::HangBefore];

/// The proxy.
pub(super) struct Proxy {
    pub(super) address: String,
    upstream: String,
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    mood: Mood,
    dice: Dice,
    /// What goes wrong next: a shuffled [`GOES_WRONG`], so that everything comes soon.
    deck: Vec<Act>,
    counts: BTreeMap<Act, u64>,
}

impl State {
    fn draw(&mut self) -> Act {
        if self.deck.is_empty() {
            self.deck = GOES_WRONG.to_vec();
            shuffle(&mut self.dice, &mut self.deck);
        }
        self.deck.pop().expect("the deck was filled")
    }
}

impl Proxy {
    pub(super) async fn start(upstream: &str, dice: Dice, clock: Clock) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let state = Mutex::new(State { mood: Mood::Well, dice, deck: Vec::new(), counts: BTreeMap::new() });
        let proxy = Arc::new(Self { address, upstream: upstream.to_owned(), clock, state });
        let serving = Arc::clone(&proxy);
        drop(Pools::current().spawn_io(async move {
            while let Ok((client, _)) = listener.accept().await {
                let one = Arc::clone(&serving);
                // A client that went away has nobody to tell.
                drop(Pools::current().spawn_io(async move { one.serve(client).await }));
            }
        }));
        proxy
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    pub(super) fn set(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// How often each thing happened.
    pub(super) fn counts(&self) -> BTreeMap<Act, u64> {
        self.state().counts.clone()
    }

    fn choose(&self) -> Act {
        let state = &mut *self.state();
        let act = match state.mood {
            Mood::Well => Act::Pass,
            Mood::Erring if state.dice.below(3) > 0 => Act::Pass,
            Mood::Erring => state.draw(),
            Mood::Down => IS_DOWN[usize::try_from(state.dice.below(IS_DOWN.len() as u64)).expect("an index")],
        };
        *state.counts.entry(act).or_default() += 1;
        act
    }

    async fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let request = read_request(&mut client).await?;
        if request.is_empty() {
            return Ok(());
        }
        match self.choose() {
            Act::Pass => client.write_all(&self.forward(&request).await?).await,
            Act::Delay => {
                let wait = self.state().dice.below(DELAY_MS);
                self.clock.sleep(Duration::from_millis(wait)).await;
                client.write_all(&self.forward(&request).await?).await
            }
            Act::Answer500 => client.write_all(&answer("500 Internal Server Error")).await,
            Act::Answer503 => client.write_all(&answer("503 Slow Down")).await,
            Act::DropBefore => Ok(()),
            Act::HangBefore => {
                self.clock.sleep(HANG).await;
                Ok(())
            }
            Act::DropAfter => self.forward(&request).await.map(drop),
            Act::HangAfter => {
                self.forward(&request).await?;
                self.clock.sleep(HANG).await;
                Ok(())
            }
            Act::LieAfter => {
                self.forward(&request).await?;
                client.write_all(&answer("500 Internal Server Error")).await
            }
        }
    }

    /// The server's whole answer.
    async fn forward(&self, request: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut upstream = TcpStream::connect(&self.upstream).await?;
        upstream.write_all(request).await?;
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

fn answer(status: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

/// Head and body, with a word to the server that it shall close after its answer. Empty when none came.
async fn read_request(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 2;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(Vec::new());
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let end = head + 2 + length.unwrap_or(0_usize);
    while bytes.len() < end {
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(Vec::new());
        }
    }
    bytes.splice(head..head, *b"Connection: close\r\n");
    Ok(bytes)
}
