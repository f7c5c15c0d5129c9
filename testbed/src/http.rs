//! The parts of HTTP/1.1 that a blocking server on the loopback interface needs: keep-alive, and one write
//! for each response. It needs no async runtime, and adds no measurable time.

use std::io::{self, BufRead, BufReader, Read, Write};

/// A complete request.
pub struct Request {
    pub method: String,
    pub path: String,
    pub body: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// A complete response.
pub struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// One client's connection.
pub struct Connection<S> {
    stream: BufReader<S>,
}

impl<S: Read + Write> Connection<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream: BufReader::with_capacity(64 * 1024, stream),
        }
    }

    /// What it reads from and writes to.
    pub fn stream(&self) -> &S {
        self.stream.get_ref()
    }

    /// The next request, or `None` if the client has closed the connection.
    pub fn read(&mut self) -> io::Result<Option<Request>> {
        let Some(head) = self.read_head()? else {
            return Ok(None);
        };
        let mut request = parse_head(&head)?;
        let chunked = request
            .header("transfer-encoding")
            .is_some_and(|value| value.contains("chunked"));
        request.body = if chunked {
            self.read_chunks()?
        } else {
            let length = request.header("content-length").unwrap_or("0");
            self.read_exactly(length.parse().map_err(io::Error::other)?)?
        };
        Ok(Some(request))
    }

    pub fn write(&mut self, response: &Response) -> io::Result<()> {
        let mut bytes = format!("HTTP/1.1 {} -\r\n", response.status).into_bytes();
        for (name, value) in &response.headers {
            write!(bytes, "{name}: {value}\r\n")?;
        }
        write!(bytes, "content-length: {}\r\n\r\n", response.body.len())?;
        bytes.extend_from_slice(&response.body);
        let stream = self.stream.get_mut();
        stream.write_all(&bytes)?;
        stream.flush()
    }

    fn read_head(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.stream.read_until(b'\n', &mut head) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if head.is_empty() && is_hang_up(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(head))
    }

    fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            if size == 0 {
                self.read_trailers()?;
                return Ok(body);
            }
            body.extend(self.read_exactly(size)?);
            self.read_exactly(2)?;
        }
    }

    fn read_trailers(&mut self) -> io::Result<()> {
        let mut line = String::new();
        while self.stream.read_line(&mut line)? > 2 {
            line.clear();
        }
        Ok(())
    }

    fn read_exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn parse_head(head: &[u8]) -> io::Result<Request> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(head).map_err(io::Error::other)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: parsed.path.unwrap_or_default().to_owned(),
        headers: parsed
            .headers
            .iter()
            .map(|header| (header.name.to_owned(), text(header.value)))
            .collect(),
        body: Vec::new(),
    })
}

/// A killed client closes its connections in the middle of a request, which is not an error here.
fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn a_chunked_request_and_the_one_after_it_are_both_read_whole() {
        let bytes = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n\
            POST /b HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi";
        let mut connection = Connection::new(Cursor::new(bytes.to_vec()));
        assert_eq!(connection.read().unwrap().unwrap().body, b"abcde");
        let second = connection.read().unwrap().unwrap();
        assert_eq!(
            (second.path.as_str(), second.body.as_slice()),
            ("/b", &b"hi"[..])
        );
        assert!(connection.read().unwrap().is_none());
    }
}
