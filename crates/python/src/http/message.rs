//! `HttpRequest` and `HttpResponse`: a head as a hook gets it, and what the hook wants done with the body.

use modnet_transform::encode::{HIGHEST, NAMES};
use modnet_transform::http::filter::media_type;
use modnet_transform::http::head::Start;
use modnet_transform::http::{Head, Room};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use super::headers::{text, HttpHeaders};

/// What a hook wants done with a body.
pub enum Wanted {
    /// A coding.
    Coding {
        /// One of [`NAMES`].
        name: String,
        /// A number, or what gives one.
        level: Level,
        /// Least seconds between two questions.
        every: f64,
    },
    /// Python's own transform.
    Script(Py<PyAny>),
}

/// A level.
pub enum Level {
    /// Always the same.
    Fixed(u8),
    /// What Python says.
    Asked(Py<PyAny>),
}

/// A wish, and after how many seconds without more bytes what there is so far goes on.
pub type Wish = (Wanted, f64);

fn room_name(room: Room) -> &'static str {
    match room {
        Room::Body => "body",
        Room::Head => "head",
        Room::Empty => "empty",
        Room::Persistent => "persistent",
    }
}

fn scripted(transform: &Bound<'_, PyAny>, flush: f64) -> PyResult<Wish> {
    if !transform.is_callable() && !transform.hasattr("data")? {
        let kind = transform.get_type().name()?.to_string();
        return Err(PyTypeError::new_err(format!(
            "a body's transform is a function from bytes to bytes, or has data(bytes), not {kind}"
        )));
    }
    Ok((Wanted::Script(transform.clone().unbind()), seconds("flush", flush)?))
}

fn seconds(what: &str, value: f64) -> PyResult<f64> {
    if (0.0..=3600.0).contains(&value) {
        return Ok(value);
    }
    Err(PyValueError::new_err(format!("{what} is from 0 to 3600 seconds, not {value}")))
}

/// A request.
#[pyclass(module = "modnet._native")]
pub struct HttpRequest {
    headers: Py<HttpHeaders>,
    room: Room,
    /// Taken after the hook.
    pub wish: Option<Wish>,
}

/// A final response.
#[pyclass(module = "modnet._native")]
pub struct HttpResponse {
    headers: Py<HttpHeaders>,
    room: Room,
    /// Taken after the hook.
    pub wish: Option<Wish>,
}

impl HttpRequest {
    /// Of a copy of the head.
    pub fn new(py: Python<'_>, head: &Head, room: Room) -> PyResult<Self> {
        Ok(Self { headers: Py::new(py, HttpHeaders { head: head.clone() })?, room, wish: None })
    }

    /// The head as the hook has left it.
    pub fn edited(&self, py: Python<'_>) -> Option<Head> {
        edited(&self.headers, py)
    }
}

impl HttpResponse {
    /// Of a copy of the head.
    pub fn new(py: Python<'_>, head: &Head, room: Room) -> PyResult<Self> {
        Ok(Self { headers: Py::new(py, HttpHeaders { head: head.clone() })?, room, wish: None })
    }

    /// The head as the hook has left it.
    pub fn edited(&self, py: Python<'_>) -> Option<Head> {
        edited(&self.headers, py)
    }
}

fn edited(headers: &Py<HttpHeaders>, py: Python<'_>) -> Option<Head> {
    let headers = headers.borrow(py);
    headers.head.is_edited().then(|| headers.head.clone())
}

#[pymethods]
impl HttpRequest {
    /// GET, POST and so on.
    #[getter]
    fn method(&self, py: Python<'_>) -> String {
        text(self.headers.borrow(py).head.method())
    }

    /// What was asked for, as it was sent.
    #[getter]
    fn target(&self, py: Python<'_>) -> String {
        text(self.headers.borrow(py).head.target())
    }

    /// "HTTP/1.0" or "HTTP/1.1".
    #[getter]
    fn version(&self, py: Python<'_>) -> String {
        format!("HTTP/1.{}", self.headers.borrow(py).head.minor())
    }

    /// Its fields.
    #[getter]
    fn headers(&self, py: Python<'_>) -> Py<HttpHeaders> {
        self.headers.clone_ref(py)
    }

    /// "body": it has one that can be changed; "empty": it has none.
    #[getter]
    fn room(&self) -> &'static str {
        room_name(self.room)
    }

    /// Changes the body, which is sent in chunks then. Whether there is one.
    #[pyo3(signature = (transform, *, flush=0.005))]
    fn body(&mut self, transform: &Bound<'_, PyAny>, flush: f64) -> PyResult<bool> {
        let wish = scripted(transform, flush)?;
        if self.room == Room::Body {
            self.wish = Some(wish);
        }
        Ok(self.room == Room::Body)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<HttpRequest {}>", text(self.headers.borrow(py).head.first_line()))
    }
}

#[pymethods]
impl HttpResponse {
    /// 200, 404 and so on.
    #[getter]
    fn status(&self, py: Python<'_>) -> u16 {
        match self.headers.borrow(py).head.start() {
            Start::Response { status } => status,
            Start::Request => 0,
        }
    }

    /// "HTTP/1.0" or "HTTP/1.1".
    #[getter]
    fn version(&self, py: Python<'_>) -> String {
        format!("HTTP/1.{}", self.headers.borrow(py).head.minor())
    }

    /// Its fields.
    #[getter]
    fn headers(&self, py: Python<'_>) -> Py<HttpHeaders> {
        self.headers.clone_ref(py)
    }

    /// The media type in small letters, without parameters; "": none is given.
    #[getter]
    fn r#type(&self, py: Python<'_>) -> String {
        media_type(&self.headers.borrow(py).head).map(text).unwrap_or_default().to_ascii_lowercase()
    }

    /// Bytes of the body as announced; None: it is not.
    #[getter]
    fn length(&self, py: Python<'_>) -> Option<u64> {
        self.headers.borrow(py).head.get("content-length").and_then(|value| text(value).parse().ok())
    }

    /// "body": it has one that can be changed; "head": it answers HEAD; "empty": it has none; "persistent": it is for a
    /// client of HTTP/1.0 on a connection that stays, which could not see where a changed body ends.
    #[getter]
    fn room(&self) -> &'static str {
        room_name(self.room)
    }

    /// Changes the body. Whether there is one, or its head speaks of one.
    #[pyo3(signature = (transform, *, flush=0.005))]
    fn body(&mut self, transform: &Bound<'_, PyAny>, flush: f64) -> PyResult<bool> {
        let wish = scripted(transform, flush)?;
        Ok(self.wish(wish))
    }

    /// Compresses the body, and says so in the head. Whether there is one, or its head speaks of one.
    #[pyo3(signature = (coding, level, *, every=0.01, flush=0.005))]
    fn encode(
        &mut self,
        py: Python<'_>,
        coding: String,
        level: &Bound<'_, PyAny>,
        every: f64,
        flush: f64,
    ) -> PyResult<bool> {
        if !NAMES.contains(&coding.as_str()) {
            return Err(PyValueError::new_err(format!("the coding is {}, not {coding:?}", NAMES.join(", "))));
        }
        let level = if level.is_callable() {
            Level::Asked(level.clone().unbind())
        } else {
            let number = level.extract::<u8>().ok().filter(|number| *number <= HIGHEST);
            Level::Fixed(number.ok_or_else(|| {
                PyValueError::new_err(format!("level is from 0 to {HIGHEST}, or a function that gives one"))
            })?)
        };
        let (every, flush) = (seconds("every", every)?, seconds("flush", flush)?);
        if matches!(self.room, Room::Body | Room::Head) {
            let head = &mut self.headers.borrow_mut(py).head;
            let coded = head.get("content-encoding").filter(|value| !value.eq_ignore_ascii_case(b"identity"));
            if let Some(coded) = coded {
                let told = format!("the body is coded already: {}", text(coded));
                return Err(PyValueError::new_err(told));
            }
            head.set("Content-Encoding", coding.as_bytes());
        }
        Ok(self.wish((Wanted::Coding { name: coding, level, every }, flush)))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<HttpResponse {}>", text(self.headers.borrow(py).head.first_line()))
    }
}

impl HttpResponse {
    fn wish(&mut self, wish: Wish) -> bool {
        let has = matches!(self.room, Room::Body | Room::Head);
        if has {
            self.wish = Some(wish);
        }
        has
    }
}
