//! Any order of events, on real sockets: a short run of what the hub's own tests do at length with
//! virtual time.
