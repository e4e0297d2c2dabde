//! `HttpHeaders`: a head's fields for Python; text is ISO-8859-1, as on the wire.

use modnet_transform::http::chunked::is_token;
use modnet_transform::http::Head;
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;

/// What frames a message is the framer's affair.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// The fields of a message.
#[pyclass(module = "modnet._native")]
pub struct HttpHeaders {
    /// They are part of it.
    pub head: Head,
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn bytes(name: &str, value: &str) -> PyResult<Vec<u8>> {
    let latin: Option<Vec<u8>> = value.chars().map(|letter| u8::try_from(letter).ok()).collect();
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(PyValueError::new_err(format!("{name:?} is no field name: use letters, digits and '-'")));
    }
    if FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing)) {
        return Err(PyValueError::new_err(format!(
            "{name} frames the message: change the body, and it will fit"
        )));
    }
    latin
        .filter(|value| value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f)))
        .ok_or_else(|| {
            PyValueError::new_err(format!(
                "the value of {name} must be one line of ISO-8859-1, not {value:?}"
            ))
        })
}

#[pymethods]
impl HttpHeaders {
    /// The first value of that name, in whatever case; else `default`.
    #[pyo3(signature = (name, default=None))]
    fn get(&self, name: &str, default: Option<String>) -> Option<String> {
        self.head.get(name).map(text).or(default)
    }

    /// Every value of that name.
    fn all(&self, name: &str) -> Vec<String> {
        self.head.all(name).map(text).collect()
    }

    /// Whether one of the comma-separated members of the fields of that name is `token`, in whatever case.
    fn lists(&self, name: &str, token: &str) -> bool {
        self.head.lists(name, token)
    }

    /// Adds a field at the end.
    fn add(&mut self, name: &str, value: &str) -> PyResult<()> {
        let value = bytes(name, value)?;
        self.head.add(name, &value);
        Ok(())
    }

    /// Takes all fields of that name away, if there are any.
    fn discard(&mut self, name: &str) -> PyResult<()> {
        bytes(name, "")?;
        self.head.remove(name);
        Ok(())
    }

    /// Names and values, as they were sent, in order.
    fn items(&self) -> Vec<(String, String)> {
        self.head.fields().map(|(name, value)| (text(name), text(value))).collect()
    }

    fn __getitem__(&self, name: &str) -> PyResult<String> {
        self.head.get(name).map(text).ok_or_else(|| PyKeyError::new_err(name.to_owned()))
    }

    fn __setitem__(&mut self, name: &str, value: &str) -> PyResult<()> {
        let value = bytes(name, value)?;
        self.head.set(name, &value);
        Ok(())
    }

    fn __delitem__(&mut self, name: &str) -> PyResult<()> {
        if !self.head.has(name) {
            return Err(PyKeyError::new_err(name.to_owned()));
        }
        self.discard(name)
    }

    fn __contains__(&self, name: &str) -> bool {
        self.head.has(name)
    }

    fn __len__(&self) -> usize {
        self.head.fields().count()
    }

    fn __repr__(&self) -> String {
        format!("HttpHeaders({:?})", self.items())
    }
}
