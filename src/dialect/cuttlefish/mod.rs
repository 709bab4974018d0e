//! Android Cuttlefish: `/register_device`, `/connect_client` and their polling relatives.
