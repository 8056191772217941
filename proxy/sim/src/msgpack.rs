//! Reads msgpack in tests; a reader of its own, so that writer and reader do not share a mistake.

#[derive(Debug, Clone)]
pub(crate) enum Msgpack {
    Nil,
    Number(u64),
    Float,
    Text(String),
    Array(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

impl Msgpack {
    pub(crate) fn array(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Nil => None,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.array().iter().map(|item| item.number().unwrap()).collect()
    }

    pub(crate) fn field(&self, name: &str) -> &Self {
        match self {
            Self::Map(fields) => &fields.iter().find(|(key, _)| key.text() == name).unwrap().1,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn read_value(bytes: &mut &[u8]) -> Msgpack {
    use rmp::Marker;
    use rmp::decode as mp;
    match Marker::from_u8(bytes[0]) {
        Marker::Null => {
            mp::read_nil(bytes).unwrap();
            Msgpack::Nil
        }
        Marker::F64 => {
            mp::read_f64(bytes).unwrap();
            Msgpack::Float
        }
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 => {
            let length = mp::read_str_len(bytes).unwrap() as usize;
            let (text, rest) = bytes.split_at(length);
            *bytes = rest;
            Msgpack::Text(String::from_utf8(text.to_vec()).unwrap())
        }
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
            let length = mp::read_array_len(bytes).unwrap();
            Msgpack::Array((0..length).map(|_| read_value(bytes)).collect())
        }
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
            let length = mp::read_map_len(bytes).unwrap();
            Msgpack::Map((0..length).map(|_| (read_value(bytes), read_value(bytes))).collect())
        }
        _ => Msgpack::Number(mp::read_int(bytes).unwrap()),
    }
}
