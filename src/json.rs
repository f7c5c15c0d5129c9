//! What the parsers of a gateway's event and of a body share.

use std::fmt;

use serde::{Deserialize, Deserializer, de::Visitor};

/// A JSON string as bytes. Unlike a `String` it can hold a lone surrogate.
#[derive(Default)]
pub(crate) struct Text(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(TextVisitor)
    }
}
