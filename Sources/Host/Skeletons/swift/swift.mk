# make             builds libmultifd-new-backend.so
# make check       runs the harness on it; ARGS=--quick for the short form
# make certificate what was tried and what came of it, for whoever gets the library
# make golden      records payloads of this version, which later ones are held to
# make install     puts it where the host looks
LIBRARY := libmultifd-new-backend.so
CERTIFICATE := libmultifd-new-backend.certificate.json

SWIFTC ?= swiftc
SOURCES := $(wildcard *.swift)
# Where multifd is installed, by pkg-config; else where it was when it wrote this file.
PLUGIN_CFLAGS := $(shell pkg-config --cflags multifd-plugin 2>/dev/null || echo -I@INCLUDE@)
PLUGINDIR ?= $(shell pkg-config --variable=plugindir multifd-plugin 2>/dev/null || echo @PLUGINDIR@)
HARNESS ?= $(shell command -v multifd-harness || echo @BIN@/multifd-harness)

# Embedded Swift: no Swift run-time among what the library needs, so that it runs wherever the host does.
FLAGS := -enable-experimental-feature Embedded -wmo -O -swift-version 6 -warnings-as-errors \
  -parse-as-library -module-name Backend

$(LIBRARY): $(SOURCES) Header.h plugin.map Makefile
	$(SWIFTC) $(FLAGS) -import-objc-header Header.h $(addprefix -Xcc ,$(CPPFLAGS) $(PLUGIN_CFLAGS)) \
	  -emit-library -nostartfiles -Xlinker --version-script=plugin.map -Xlinker -soname=$(LIBRARY) \
	  -Xlinker --no-undefined $(SWIFTFLAGS) -o $@ $(SOURCES)

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
	rm -f $(LIBRARY)
