// The version, in its one place: the programs say it, and the Makefile reads it out of this file.

/// What `--version` says, and the pkg-config file. A backend's version is its own.
package let multifdVersion = "0.1.0"
