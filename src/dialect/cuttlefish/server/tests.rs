//! Every row of cuttlefish.md A2 and A3.
