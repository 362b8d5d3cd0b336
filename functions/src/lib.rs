//! All functions. The `FUNCTION` of each file declares its route or trigger and all its other properties.

macro_rules! functions {
    (
        endpoints { $($group:ident { $($name:ident),+ $(,)? })+ }
        consumers { $($(#[$of_consumers:meta])* $consumers:ident { $($consumer:ident),+ $(,)? })+ }
        jobs { $($(#[$of_jobs:meta])* $jobs:ident { $($job:ident),+ $(,)? })+ }
        sockets { $($(#[$of_sockets:meta])* $sockets:ident { $($socket:ident),+ $(,)? })+ }
    ) => {
        $(mod $group { $(pub(crate) mod $name;)+ })+
        $($(#[$of_consumers])* pub mod $consumers { $(pub mod $consumer;)+ })+
        $($(#[$of_jobs])* pub mod $jobs { $(pub mod $job;)+ })+
        $($(#[$of_sockets])* pub mod $sockets { $(pub mod $socket;)+ })+

        /// The handler of each endpoint, for its binary and for the runner.
        pub mod handlers {
            $($(
                /// The endpoint of the same name.
                #[must_use]
                pub fn $name(context: crate::Context, request: crate::Request) -> crate::BoxFuture {
                    // A constant, so that no binary links the declaration.
                    const TAKES_NO_QUERY: bool = crate::$group::$name::FUNCTION.takes_no_query();
                    Box::pin(async move {
                        if TAKES_NO_QUERY {
                            crate::http::no_query(&request)?;
                        }
                        crate::$group::$name::handle(context, request).await
                    })
                }
            )+)+
        }

        /// Every endpoint by the name of its binary.
        pub const ENDPOINTS: &[(&str, Handler)] = &[$($((stringify!($name), handlers::$name)),+),+];

        /// Every consumer by the name of its binary.
        pub const CONSUMERS: &[(&str, Consumer)] = &[$($((stringify!($consumer), $consumers::$consumer::run)),+),+];

        /// Every handler of a WebSocket event by the name of its binary.
        pub const SOCKETS: &[(&str, SocketHandler)] = &[$($((stringify!($socket), $sockets::$socket::run)),+),+];

        /// The declaration of each function.
        pub static DECLARED: &[Declared] = &[
            $($(Declared::new(FunctionKind::Endpoint, stringify!($group), stringify!($name), &$group::$name::FUNCTION),)+)+
            $($(Declared::new(FunctionKind::Consumer, stringify!($consumers), stringify!($consumer), &$consumers::$consumer::FUNCTION),)+)+
            $($(Declared::new(FunctionKind::Job, stringify!($jobs), stringify!($job), &$jobs::$job::FUNCTION),)+)+
            $($(Declared::new(FunctionKind::Socket, stringify!($sockets), stringify!($socket), &$sockets::$socket::FUNCTION),)+)+
        ];

        /// The triggers of each function, without the rest of its declaration.
        static TRIGGERS: &[(&str, &[function::Trigger])] = &[
            $($((stringify!($name), $group::$name::FUNCTION.triggers),)+)+
            $($((stringify!($consumer), $consumers::$consumer::FUNCTION.triggers),)+)+
            $($((stringify!($job), $jobs::$job::FUNCTION.triggers),)+)+
            $($((stringify!($socket), $sockets::$socket::FUNCTION.triggers),)+)+
        ];
    };
}

functions! {
    endpoints {
        agents { attest, enroll_agent, revoke_agent, set_binding }
        rooms {
            answer_question,
            ask_question,
            cast_vote,
            create_room,
            end_room,
            get_analytics,
            get_mute_request,
            get_room,
            get_room_audit,
            get_room_safe,
            join_room,
            leave_room,
            list_messages,
            list_questions,
            list_room_events,
            list_room_users,
            list_rooms,
            mute_all,
            post_message,
            renew_presence,
            update_participant,
            update_question,
            update_room,
            withdraw_vote,
        }
        system { get_health, get_metrics, get_openapi, get_page, no_route }
        users {
            attach_agent,
            create_pairing,
            delete_user,
            end_agent,
            get_user,
            list_users,
            set_device,
            set_mute,
            set_state,
        }
    }
    consumers {
        /// Consumers of a table's stream.
        consumers { on_room_change, on_state_change }
    }
    jobs {
        /// Jobs that an operator starts by hand.
        commands { restore }
        /// Jobs that a schedule starts.
        schedules { canary, restore_drill, snapshot_tables }
    }
    sockets {
        /// Handlers of the events of the WebSocket API.
        sockets { connect_socket, disconnect_socket, ping_socket, refuse_message }
    }
}

mod answer;
mod auth;
mod context;
mod error;
mod event;
mod examples;
pub mod function;
mod http;
mod idempotency;
mod limit;
mod links;
pub mod live;
mod log;
mod password;
mod runtime;
mod socket_answer;
mod socket_event;

pub use answer::{answer, new_request_id, refuse};
pub use context::{BoxFuture, Consumer, Context, Error, Handler, Job, Outcome, Reply, Request, Response};
pub use error::{ApiError, Field, PROBLEM};
pub use event::Address;
pub use function::described;
use function::{Declared, FunctionKind};
pub use http::BODY_TOO_LARGE;
pub use idempotency::Once;
pub use live::Live;
pub use log::{Observer, ROUTINE, RequestLine, diagnostics};
pub use runtime::{
    consume, consume_live, serve, serve_live, serve_schedule, serve_socket, serve_socket_live, serve_with,
};
pub use socket_answer::{SOCKET_PATH, SocketHandler, SocketReply, answer_socket};
pub use socket_event::{SocketAnswer, SocketRequest, bye};
pub use system::get_openapi::DOCUMENT as OPENAPI;
