//! Values that are mirrored into headers: any text passes, and any bytes are read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_mcp::headers::{
    argument_equals, argument_value, decode_value, encode_value, is_param_name, values_equal,
};
use tollgate_mcp::{Limits, Span, numbers_equal, quote, validate};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = decode_value(data) {
        assert!(values_equal(encode_value(&text).as_bytes(), &text));
    }
    if let Ok(argument) = validate(data, &Limits::default())
        && let Some(value) = argument_value(data, argument)
    {
        assert!(argument_equals(value.as_bytes(), data, argument));
    }
    if let Some((&at, numbers)) = data.split_first() {
        let (one, other) = numbers.split_at(usize::from(at).min(numbers.len()));
        assert_eq!(numbers_equal(one, other), numbers_equal(other, one));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let value = encode_value(text);
    assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')));
    assert_eq!(decode_value(value.as_bytes()).as_deref(), Ok(text));
    let literal = quote(text);
    assert_eq!(argument_value(&literal, Span::all(&literal)), Some(value));
    assert!(!is_param_name(text) || text.is_ascii());
});
