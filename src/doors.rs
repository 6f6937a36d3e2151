//! Hangs the tools at the doors of the actors. Knows both; holds no rule.

use actix::{Addr, Recipient};
use actors::clock::SharedClock;
use actors::messages::integrations::AutoCommit;
use actors::store::StoreDoor;
use actors::system::{DeliveryOrders, StateDoors};

use crate::tools::{HouseTools, StateTools, ToolDoors, WorkTools};

/// The doors of the state writer.
pub(crate) fn of_state(state: &StateDoors) -> StateTools {
    StateTools {
        state: state.state.clone(),
        webhooks: state.webhooks.clone(),
        register: state.register.clone(),
        delete: state.delete.clone(),
        rotate: state.rotate.clone(),
        git_auto_commit: state.git_auto_commit.clone(),
        set_git_auto_commit: state.set_git_auto_commit.clone(),
    }
}

/// All doors; `work` is absent where no run is worked on.
pub(crate) fn of(
    state: &StateDoors,
    out: &DeliveryOrders,
    auto_commit: &Recipient<AutoCommit>,
    store: &Addr<StoreDoor>,
    work: Option<WorkTools>,
    clock: &SharedClock,
) -> ToolDoors {
    ToolDoors {
        state: of_state(state),
        house: Some(HouseTools {
            emit: out.emit.clone(),
            notify: out.notify.clone(),
            ping: out.ping.clone(),
            switch: out.switch.clone(),
            auto_commit: auto_commit.clone(),
            runs: store.clone().recipient(),
            run: store.clone().recipient(),
            events: store.clone().recipient(),
            approvals: store.clone().recipient(),
            deliveries: store.clone().recipient(),
            delivery: store.clone().recipient(),
            audit: store.clone().recipient(),
            work,
        }),
        clock: clock.clone(),
    }
}
