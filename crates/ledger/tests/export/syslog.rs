//! A syslog server that comes and goes.
