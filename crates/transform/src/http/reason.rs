//! Why bytes are passed without being looked at. Each has a name that counters show.

/// From here on the connection is nobody's affair, because …
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is not HTTP/1.x.
    NotHttp,
    /// It is HTTP/2, by prior knowledge.
    Http2,
    /// A head, or a chunk's extension, is larger than anybody's need.
    Oversize,
    /// A line ends with a bare LF, or a CR stands alone: parsers differ.
    BareLineEnd,
    /// A head that the grammar does not allow.
    BadHead,
    /// A field continued on the next line, where it matters or in a request.
    Folded,
    /// Both Content-Length and Transfer-Encoding.
    BothLengths,
    /// Content-Lengths that differ, or are no number.
    BadLength,
    /// A Transfer-Encoding other than one that ends with one chunked, or in HTTP/1.0.
    TransferEncoding,
    /// A chunk that the grammar does not allow.
    BadChunk,
    /// A response that no request asked for.
    Unasked,
    /// More requests ahead of their responses than are kept.
    Pipelined,
    /// CONNECT: the bytes are somebody else's.
    Tunnel,
    /// 101: the protocol is another one, WebSocket or h2c.
    Upgraded,
    /// Bytes after a request to upgrade, before its answer: of which protocol, nobody can tell.
    Early,
    /// Whoever decides has given up.
    GivenUp,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::NotHttp,
        Self::Http2,
        Self::Oversize,
        Self::BareLineEnd,
        Self::BadHead,
        Self::Folded,
        Self::BothLengths,
        Self::BadLength,
        Self::TransferEncoding,
        Self::BadChunk,
        Self::Unasked,
        Self::Pipelined,
        Self::Tunnel,
        Self::Upgraded,
        Self::Early,
        Self::GivenUp,
    ];

    /// The counter's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotHttp => "not_http",
            Self::Http2 => "http2",
            Self::Oversize => "oversize",
            Self::BareLineEnd => "bare_line_end",
            Self::BadHead => "bad_head",
            Self::Folded => "folded",
            Self::BothLengths => "both_lengths",
            Self::BadLength => "bad_length",
            Self::TransferEncoding => "transfer_encoding",
            Self::BadChunk => "bad_chunk",
            Self::Unasked => "unasked",
            Self::Pipelined => "pipelined",
            Self::Tunnel => "tunnel",
            Self::Upgraded => "upgraded",
            Self::Early => "early",
            Self::GivenUp => "given_up",
        }
    }
}
