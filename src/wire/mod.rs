//! Pure codecs, bytes to rows and back: one protocol a file. No I/O, no async; limits come in as arguments.
