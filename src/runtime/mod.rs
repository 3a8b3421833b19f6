//! The ground: clock, disk, object stores, pools and limits. Everything that is not pure goes through here.
