//! The parts of GitHub's payloads that are read, and nothing else. A field of an unexpected type counts as absent, so that
//! no payload can be "half understood". Knows no rule.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Payload<'a> {
    #[serde(borrow)]
    pub(super) action: Lenient<Text<'a>>,
    #[serde(borrow)]
    sender: Lenient<Account<'a>>,
    #[serde(borrow)]
    repository: Lenient<Repository<'a>>,
    #[serde(borrow)]
    issue: Lenient<Thread<'a>>,
    #[serde(borrow)]
    pull_request: Lenient<Thread<'a>>,
    #[serde(borrow)]
    comment: Lenient<Said<'a>>,
    #[serde(borrow)]
    review: Lenient<Said<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Account<'a> {
    #[serde(borrow)]
    login: Lenient<Text<'a>>,
    #[serde(borrow, rename = "type")]
    kind: Lenient<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Repository<'a> {
    #[serde(borrow)]
    full_name: Lenient<Text<'a>>,
}

/// An issue or a pull request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Thread<'a> {
    number: Lenient<Number>,
    #[serde(borrow)]
    title: Lenient<Text<'a>>,
    #[serde(borrow)]
    body: Lenient<Text<'a>>,
    #[serde(borrow)]
    labels: Lenient<List<Label<'a>>>,
    #[serde(borrow)]
    author_association: Lenient<Text<'a>>,
    pull_request: Lenient<Present>,
    merged: Lenient<Flag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Label<'a> {
    #[serde(borrow)]
    name: Lenient<Text<'a>>,
}

/// A comment or a review.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said<'a> {
    id: Lenient<Number>,
    #[serde(borrow)]
    body: Lenient<Text<'a>>,
    #[serde(borrow)]
    author_association: Lenient<Text<'a>>,
}

impl<'a> Payload<'a> {
    /// The payload, if the text is one JSON object.
    pub(super) fn read(json: &'a str) -> Option<Self> {
        // serde would read a struct from an array, too.
        if !json.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
            return None;
        }
        serde_json::from_str(json).ok()
    }

    pub(super) fn sender_login(&self) -> Option<&str> {
        self.sender.0.as_ref()?.login.as_deref()
    }

    pub(super) fn sender_is_bot(&self, bot_login: &str) -> bool {
        let Some(sender) = &self.sender.0 else { return false };
        let login = sender.login.as_deref().unwrap_or_default();
        sender.kind.as_deref() == Some("Bot")
            || (!login.is_empty() && login.eq_ignore_ascii_case(bot_login))
            || login.ends_with("[bot]")
    }

    pub(super) fn repository_name(&self) -> Option<&str> {
        self.repository.0.as_ref()?.full_name.as_deref()
    }

    pub(super) fn issue(&self) -> Option<&Thread<'a>> {
        self.issue.0.as_ref()
    }

    pub(super) fn pull_request(&self) -> Option<&Thread<'a>> {
        self.pull_request.0.as_ref()
    }

    pub(super) fn comment_id(&self) -> Option<u64> {
        self.comment.0.as_ref()?.id.0.map(|n| n.0)
    }

    pub(super) fn comment_body(&self) -> Option<&str> {
        self.comment.0.as_ref()?.body.as_deref()
    }

    pub(super) fn review_body(&self) -> Option<&str> {
        self.review.0.as_ref()?.body.as_deref()
    }

    /// The comment's, else the review's, else the issue's, else the pull request's.
    pub(super) fn author_association(&self) -> Option<&str> {
        let comment = self.comment.0.as_ref().and_then(|s| s.author_association.as_deref());
        let review = self.review.0.as_ref().and_then(|s| s.author_association.as_deref());
        let issue = self.issue.0.as_ref().and_then(|t| t.author_association.as_deref());
        let pull_request = self
            .pull_request
            .0
            .as_ref()
            .and_then(|t| t.author_association.as_deref());
        comment.or(review).or(issue).or(pull_request)
    }
}

impl Thread<'_> {
    pub(super) fn number(&self) -> Option<u64> {
        self.number.0.map(|n| n.0)
    }

    pub(super) fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    pub(super) fn body(&self) -> Option<&str> {
        self.body.as_deref()
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels
            .0
            .iter()
            .flat_map(|list| &list.0)
            .filter_map(|label| label.name.as_deref())
    }

    pub(super) fn is_pull_request(&self) -> bool {
        self.pull_request.0.is_some()
    }

    pub(super) fn merged(&self) -> bool {
        self.merged.0.is_some_and(|flag| flag.0)
    }
}

/// A value of the expected type, or nothing.
#[derive(Debug)]
pub(super) struct Lenient<T>(Option<T>);

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl Lenient<Text<'_>> {
    pub(super) fn as_deref(&self) -> Option<&str> {
        self.0.as_ref().map(|text| text.0.as_ref())
    }
}

/// A JSON string, borrowed from the body where it has no escapes.
#[derive(Debug)]
pub(super) struct Text<'a>(Cow<'a, str>);

/// A whole number from 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(u64);

/// `true` or `false`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag(bool);

/// Any object; what is in it is not read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Present;

/// Those elements of an array that are objects of the expected kind.
#[derive(Debug)]
pub(super) struct List<T>(Vec<T>);

/// How a type wants to be read out of the JSON type that it expects. Whatever it does not take is `None`.
trait FromJson<'de>: Sized {
    fn text(_: Cow<'de, str>) -> Option<Self> {
        None
    }
    fn number(_: u64) -> Option<Self> {
        None
    }
    fn flag(_: bool) -> Option<Self> {
        None
    }
    /// `None`: this type does not take arrays; the visitor skips it.
    fn array<A: SeqAccess<'de>>(array: A) -> Result<Option<Self>, A::Error> {
        skip_array(array)?;
        Ok(None)
    }
    fn object<A: MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
        skip_object(object)?;
        Ok(None)
    }
}

fn skip_array<'de, A: SeqAccess<'de>>(mut array: A) -> Result<(), A::Error> {
    while array.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn skip_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<(), A::Error> {
    while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

impl<'de: 'a, 'a> FromJson<'de> for Text<'a> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self(text))
    }
}

impl FromJson<'_> for Number {
    fn number(number: u64) -> Option<Self> {
        Some(Self(number))
    }
}

impl FromJson<'_> for Flag {
    fn flag(flag: bool) -> Option<Self> {
        Some(Self(flag))
    }
}

impl<'de> FromJson<'de> for Present {
    fn object<A: MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
        skip_object(object)?;
        Ok(Some(Self))
    }
}

impl<'de, T> FromJson<'de> for List<T>
where
    T: FromJson<'de>,
{
    fn array<A: SeqAccess<'de>>(mut array: A) -> Result<Option<Self>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = array.next_element::<Lenient<T>>()? {
            items.extend(item.0);
        }
        Ok(Some(Self(items)))
    }
}

macro_rules! from_object {
    ($($name:ident),+) => {
        $(impl<'de: 'a, 'a> FromJson<'de> for $name<'a> {
            fn object<A: MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
                Self::deserialize(de::value::MapAccessDeserializer::new(object)).map(Some)
            }
        })+
    };
}
from_object!(Account, Repository, Thread, Label, Said);

impl<'de, T: FromJson<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LenientVisitor(PhantomData)).map(Self)
    }
}

struct LenientVisitor<T>(PhantomData<T>);

impl<'de, T: FromJson<'de>> Visitor<'de> for LenientVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(T::text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(T::text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(T::number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(T::flag(flag))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Self::Value, A::Error> {
        T::array(array)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        T::object(object)
    }
}
