//! The functions and routes of the template.

use local::template::{Function, Route, TEMPLATE, Template};

/// All functions.
pub(crate) fn functions() -> Vec<Function> {
    Template::parse(TEMPLATE).unwrap().functions().unwrap()
}

/// The functions that answer HTTP. The others are started by an event.
pub(crate) fn endpoints() -> Vec<Function> {
    functions().into_iter().filter(|function| !function.routes.is_empty()).collect()
}

/// All routes.
pub(crate) fn routes() -> Vec<Route> {
    functions().into_iter().flat_map(|function| function.routes).collect()
}

/// The binary that a route leads to.
pub(crate) fn binary_of(route: &Route) -> String {
    let function = functions().into_iter().find(|function| function.routes.contains(route));
    function.unwrap_or_else(|| panic!("no function has the route {route}")).binary
}
