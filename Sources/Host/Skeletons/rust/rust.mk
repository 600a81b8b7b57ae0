# make             builds libmultifd-new-backend.so
# make check       runs the harness on it; ARGS=--quick for the short form
# make install     puts it where the host looks
#
# Cargo does the work; it only calls its library libmultifd_new_backend.so.
LIBRARY := libmultifd-new-backend.so

# Where multifd is installed, by pkg-config; else where it was when it wrote this file.
PLUGINDIR ?= $(shell pkg-config --variable=plugindir multifd-plugin 2>/dev/null || echo @PLUGINDIR@)
HARNESS ?= $(shell command -v multifd-harness || echo @BIN@/multifd-harness)
CARGO ?= cargo
TARGET ?= target

$(LIBRARY): Cargo.toml $(wildcard src/*.rs) Makefile
	$(CARGO) build --release --target-dir $(TARGET)
	cp $(TARGET)/release/libmultifd_new_backend.so $@

.PHONY: check install clean
check: $(LIBRARY)
	$(HARNESS) $(ARGS) ./$(LIBRARY)

install: $(LIBRARY)
	install -D -m 644 $(LIBRARY) $(DESTDIR)$(PLUGINDIR)/$(LIBRARY)

clean:
	rm -rf $(LIBRARY) $(TARGET)
