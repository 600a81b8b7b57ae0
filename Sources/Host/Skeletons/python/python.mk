# make             builds libmultifd-new-backend.so
# make check       runs the harness on it; ARGS=--quick for the short form
# make certificate what was tried and what came of it, for whoever gets the library
# make golden      records payloads of this version, which later ones are held to
# make install     puts it where the host looks
LIBRARY := libmultifd-new-backend.so
CERTIFICATE := libmultifd-new-backend.certificate.json

# Whose packages codec.py can import; a venv's, too. The library runs it from where it is found now.
PYTHON ?= python3
INTERPRETER := $(shell $(PYTHON) -c 'import sys; print(sys.executable)' 2>/dev/null)
CFLAGS ?= -O2 -g
WARNINGS := -std=c11 -Wall -Wextra -Werror
# Where multifd is installed, by pkg-config; else where it was when it wrote this file.
PLUGIN_CFLAGS := $(shell pkg-config --cflags multifd-plugin 2>/dev/null || echo -I@INCLUDE@)
PLUGINDIR ?= $(shell pkg-config --variable=plugindir multifd-plugin 2>/dev/null || echo @PLUGINDIR@)
HARNESS ?= $(shell command -v multifd-harness || echo @BIN@/multifd-harness)

# One symbol is exported. -fvisibility=hidden hides what is not marked so in the header, the version script what
# some linkers add. The Python files are put in, so that the library is one file.
$(LIBRARY): shim.c child.c child.h worker.py codec.py plugin.map Makefile
	$(if $(INTERPRETER),,$(error there is no $(PYTHON)))
	$(CC) -DPYTHON='"$(INTERPRETER)"' $(CPPFLAGS) $(PLUGIN_CFLAGS) $(WARNINGS) $(CFLAGS) -fPIC -fvisibility=hidden -shared \
	  -Wl,-soname,$(LIBRARY) -Wl,--no-undefined -Wl,--version-script=plugin.map \
	  $(LDFLAGS) -o $@ shim.c child.c

# Recordings count as soon as there are some. A test that opens a thousand channels starts a thousand Pythons.
.PHONY: check certificate golden install clean
check: $(LIBRARY)
	$(HARNESS) --timeout 600 $(if $(wildcard golden),--golden golden) $(ARGS) ./$(LIBRARY)

certificate: override ARGS += --certificate $(CERTIFICATE)
certificate: check

golden: $(LIBRARY)
	$(HARNESS) --no-config --only golden/payloads --golden golden --record ./$(LIBRARY)

install: $(LIBRARY)
	install -D -m 644 $(LIBRARY) $(DESTDIR)$(PLUGINDIR)/$(LIBRARY)
	$(if $(wildcard $(CERTIFICATE)),install -m 644 $(CERTIFICATE) $(DESTDIR)$(PLUGINDIR)/)

clean:
	rm -f $(LIBRARY)
