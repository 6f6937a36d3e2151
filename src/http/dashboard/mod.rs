//! The dashboard: pages for people, made on the server. Asks the doors that the API asks; decides nothing of the inside.
//!
//! How to add a page, say *crons*:
//!
//! 1. A file `crons.rs` beside this one, with one handler per page. A handler takes a [`Visit`](frame::Visit) (doors, the time, who looks,
//!    `visit.url("/admin/…")` for every link) and answers a [`Sheet`](frame::Sheet); failures are the API's [`Problem`](super::problem::Problem)s
//!    and become a page of their own:
//!
//!    ```ignore
//!    pub(crate) async fn list(visit: Visit) -> Result<Sheet, Problem> {
//!        let crons = visit.doors.list_crons.send(ListCrons).await?;
//!        Ok(visit.sheet(Section::Crons, "Crons", html! {
//!            (parts::heading("Crons", html! { "What starts by itself, and when." }, html! {}))
//!            (parts::live("crons", "cron", table))
//!        }))
//!    }
//!    ```
//! 2. Its address in `src/http/routes.rs`, in the scope `/admin`.
//! 3. A variant of [`Section`](frame::Section) with its row in [`frame::SECTIONS`]: name, address, shortcut (`g c`), icon.
//! 4. What follows the server stands in `parts::live(id, kinds, …)`: when the stream tells of one of these kinds, the module
//!    fetches the page again and puts the part with this id in the place of the old one.
//! 5. What changes something is `parts::act(…)` or a `form` of `parts::form(…)`: the module sends its fields as JSON to the API.
//!    A field `context.repo` becomes `{"context":{"repo":…}}`; `data-as="number"`, `"list"`, `"json"` or `"flag"` says what else than a text it is.
//! 6. Words from outside stand in `parts::foreign(…)`, in `bdi` and as text. No `style` attribute: the page's policy forbids it.

pub(crate) mod actors;
pub(crate) mod approvals;
mod assets;
pub(crate) mod audit;
pub(crate) mod chats;
pub(crate) mod crons;
pub(crate) mod deliveries;
pub(crate) mod events;
mod frame;
mod graph;
pub(crate) mod notifications;
pub(crate) mod overview;
mod parts;
pub(crate) mod playground;
mod plots;
pub(crate) mod runs;
pub(crate) mod settings;
pub(crate) mod sign_in;
mod tint;
pub(crate) mod webhooks;
pub(crate) mod workflows;

pub(crate) use assets::serve as asset;
pub(crate) use frame::{guard, home, is_linked, linked, lost};
