# make             builds libmultifd-new-backend.so
# make check       runs the harness on it; ARGS=--quick for the short form
# make certificate what was tried and what came of it, for whoever gets the library
# make golden      records payloads of this version, which later ones are held to
# make install     puts it where the host looks
LIBRARY := libmultifd-new-backend.so
CERTIFICATE := libmultifd-new-backend.certificate.json

CXXFLAGS ?= -O2 -g
# Members that a later header appends are zero, which is what they should be.
WARNINGS := -std=c++20 -Wall -Wextra -Werror -Wno-missing-field-initializers
# Where multifd is installed, by pkg-config; else where it was when it wrote this file.
PLUGIN_CFLAGS := $(shell pkg-config --cflags multifd-plugin 2>/dev/null || echo -I@INCLUDE@)
PLUGINDIR ?= $(shell pkg-config --variable=plugindir multifd-plugin 2>/dev/null || echo @PLUGINDIR@)
HARNESS ?= $(shell command -v multifd-harness || echo @BIN@/multifd-harness)

# Without exceptions none can unwind through a callback. The version script leaves one exported symbol, where
# -fvisibility lets what is inlined from standard headers through. --as-needed: no libstdc++ that is not used.
$(LIBRARY): backend.cpp plugin.map Makefile
	$(CXX) $(CPPFLAGS) $(PLUGIN_CFLAGS) $(WARNINGS) $(CXXFLAGS) -fno-exceptions -fno-rtti \
	  -fPIC -fvisibility=hidden -shared -Wl,-soname,$(LIBRARY) -Wl,--no-undefined -Wl,--as-needed \
	  -Wl,--version-script=plugin.map $(LDFLAGS) -o $@ backend.cpp

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
