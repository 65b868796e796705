//! What these tests share: requests read from bytes, and answers written to them.

use bytes::{Buf, BytesMut};
use kvd_types::{Command, Error, Limits, Reply};
use kvd_wire::resp::commands::{self, Commands, Plan};
use kvd_wire::resp::encode::{Output, Protocol};
use kvd_wire::resp::parse::{Parser, ProtocolError, Requests};
use kvd_wire::resp::reply::{self, Shape};

/// Limits small enough to be met.
pub(crate) fn limits() -> Limits {
    Limits { key_bytes_max: 100, value_bytes_max: 100_000, batch_bytes_max: 200_000, ..Limits::DEFAULT }
}

/// The arguments of all whole requests in what arrives piece by piece, and what was wrong in the end.
pub(crate) fn read(pieces: &[&[u8]]) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    let mut parser = Parser::new(&limits());
    let (mut input, mut requests, mut all) = (BytesMut::new(), Requests::default(), Vec::new());
    for piece in pieces {
        let mut piece = *piece;
        while !piece.is_empty() {
            // As a socket does: first what is large, then the rest.
            match parser.large() {
                Some(mut rest) => {
                    use bytes::BufMut;
                    let some = piece.len().min(rest.remaining_mut());
                    rest.put_slice(&piece[..some]);
                    piece = &piece[some..];
                }
                None => {
                    input.extend_from_slice(piece);
                    piece = &[];
                }
            }
            loop {
                let parsed = parser.parse(&input, 3);
                parser.take(&mut input, &mut requests);
                all.extend(requests.iter().map(|request| request.from(0).map(<[u8]>::to_vec).collect::<Vec<_>>()));
                requests.clear();
                match parsed {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(error) => return (all, Some(error)),
                }
            }
        }
    }
    (all, None)
}

/// The bytes of a command whose words have spaces between them; `_` stands for an empty one.
pub(crate) fn bytes(line: &str) -> Vec<u8> {
    let words: Vec<&str> = line.split(' ').map(|word| if word == "_" { "" } else { word }).collect();
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// One request.
pub(crate) fn requests(line: &str) -> Requests {
    let mut parser = Parser::new(&limits());
    let (mut input, mut requests) = (BytesMut::from(&bytes(line)[..]), Requests::default());
    assert_eq!(parser.parse(&input, 2), Ok(true));
    parser.take(&mut input, &mut requests);
    assert_eq!((requests.len(), input.len()), (1, 0));
    requests
}

/// What a request means to the store: its commands and what is told, or the refusal.
pub(crate) fn data(line: &str) -> Result<(Vec<Command<'static>>, Shape), String> {
    let requests = requests(line);
    let request = requests.get(0);
    let record = commands::find(&request).map_err(|refusal| refusal.into_owned())?;
    match record.plan(&request).map_err(|refusal| refusal.into_owned())? {
        Plan::Data(Commands::One(command), shape) => Ok((vec![command.into_owned()], shape)),
        Plan::Data(Commands::Several(commands), shape) => {
            Ok((commands.into_iter().map(Command::into_owned).collect(), shape))
        }
        Plan::Action(action) => panic!("{line} is {action:?}"),
    }
}

/// The refusal of a request.
pub(crate) fn refused(line: &str) -> String {
    let requests = requests(line);
    let request = requests.get(0);
    let planned = commands::find(&request).and_then(|record| record.plan(&request).map(|plan| format!("{plan:?}")));
    planned.expect_err(line).into_owned()
}

/// How replies are told in RESP2.
pub(crate) fn told(shape: Shape, replies: Vec<Result<Reply, Error>>) -> String {
    let mut output = Output::new(Protocol::Resp2);
    let mut replies = replies.into_iter();
    reply::write(&mut output, shape, 1_000_000, || replies.next().unwrap());
    assert_eq!(replies.next(), None, "all replies are told of");
    String::from_utf8(output.copy_to_bytes(output.len()).to_vec()).unwrap()
}
