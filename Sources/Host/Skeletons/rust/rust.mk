# make             builds libmultifd-new-backend.so
# make check       runs the harness on it; ARGS=--quick for the short form
# make certificate what was tried and what came of it, for whoever gets the library
# make golden      records payloads of this version, which later ones are held to
# make install     puts it where the host looks
#
# Cargo does the work; it only calls its library libmultifd_new_backend.so.
LIBRARY := libmultifd-new-backend.so
CERTIFICATE := libmultifd-new-backend.certificate.json

# Where multifd is installed, by pkg-config; else where it was when it wrote this file.
PLUGINDIR ?= $(shell pkg-config --variable=plugindir multifd-plugin 2>/dev/null || echo @PLUGINDIR@)
HARNESS ?= $(shell command -v multifd-harness || echo @BIN@/multifd-harness)
CARGO ?= cargo
TARGET ?= target

$(LIBRARY): Cargo.toml $(wildcard src/*.rs abi/*) Makefile
	$(CARGO) build --release --target-dir $(TARGET)
	cp $(TARGET)/release/libmultifd_new_backend.so $@

# Recordings count as soon as there are some.
.PHONY: check certificate golden install clean
check: $(LIBRARY)
	$(HARNESS) $(if $(wildcard golden),--golden golden) $(ARGS) ./$(LIBRARY)

certificate: override ARGS += --certificate $(CERTIFICATE)
certificate: check

golden: $(LIBRARY)
	$(HARNESS) --no-config --only golden/payloads --golden golden --record ./$(LIBRARY)

install: $(LIBRARY)
	install -D -m 644 $(LIBRARY) $(DESTDIR)$(PLUGINDIR)/$(LIBRARY)
	$(if $(wildcard $(CERTIFICATE)),install -m 644 $(CERTIFICATE) $(DESTDIR)$(PLUGINDIR)/)

clean:
	rm -rf $(LIBRARY) $(TARGET)
