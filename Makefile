# multifd: every way to build, try, test, install it. `make` alone says what there is.
#
# The tests run the configuration that is shipped: release, here as everywhere.

SWIFT ?= swift
# Without the index: a quarter of what RolesTests takes to compile, and editors keep one of their own. Why tests want
# more words then: Tests/XCTMain.swift.
SWIFT_BUILD = $(SWIFT) build -c release --disable-index-store
SWIFT_TEST = $(SWIFT) test -c release --skip-build --enable-swift-testing --disable-xctest
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := $(shell sed -n 's/^package let multifdVersion = "\(.*\)"$$/\1/p' Sources/Host/Version/Version.swift)

BUILD := .build/release
MAN := .build/man
INSTALL_BUILD := .build-install
PROGRAMS ?=
BINARIES = $(or $(PROGRAMS),$(INSTALL_BUILD)/release)
# igzip where ISA-L is: Package.swift looks for the same file. What it has found SwiftPM remembers by the manifest's
# text and the environment, so that it looks again where this has changed.
export MULTIFD_ISAL := $(wildcard /usr/include/isa-l.h)
PLUGINS := nocomp zlib zstd lz4 $(if $(MULTIFD_ISAL),igzip)
EXAMPLES := rle-c rle-cxx rle-rust rle-swift delta pool zstd-dict
DOCS := README.md Plugins.md FORMATS.md ARCHITECTURE.md SPECIFICATION.md CHANGELOG.md SECURITY.md CONTRIBUTING.md LICENSE
# What is made of an installation: its root folder, and where packages are.
STAGE := .build/stage
PACKAGES := .build/packages
SOURCES := Package.swift Sources Tests Examples/rle-swift

.PHONY: help setup build demo test only arrows agent man soak kills restarts faults cluster service picture judge certificates afternoon interop bench bench-store \
  bench-relay bench-checkpoint bench-protect bench-scale measured protected fuzz sanitize examples docs docc installed-programs install \
  pkg-config uninstall stage deb deb-check dist format lint clean
.DEFAULT_GOAL := help

help:
	@echo 'make setup      install what is missing: libraries, stock QEMUs, the test guest (Debian 12)'
	@echo 'make build      build the host, the backends, the tests and the lab'
	@echo 'make demo       a guest goes from a stock QEMU into a store and out again, told in plain sentences'
	@echo 'make test       setup, build, all tests (a part of them against stock QEMU 7.2 and 11.1)'
	@echo 'make only       those of them whose name matches: FILTER=HarnessTests'
	@echo 'make arrows     what Package.swift and Support/rooms draw next to what the files use'
	@echo 'make interop    the whole matrix: QEMU 7.2, 10.0, 11.1 as source and destination, stores, relays, TLS between'
	@echo 'make bench      ten minutes next to stock QEMU, into docs/RESULTS.md: transfers, codecs, checkpoints, failovers;'
	@echo '                ARGS=--quick for one minute, ARGS="--corpus FILE" for pages of your own'
	@echo 'make bench-store, bench-relay, bench-checkpoint, bench-protect, bench-scale'
	@echo '                one matter and more of it: throughput, relays on slow links, pauses, what protection costs a guest,'
	@echo '                what grows with a guest'
	@echo 'make soak       standbys and primaries killed at random, thousands of times; and kills, restarts, and faults for an hour'
	@echo 'make kills      guests that are protected with their disks and packets, and lose something: ARGS="--kills 100"'
	@echo 'make restarts   one such guest, whose standby is lost 20 times and comes back: ARGS="--restarts 100"'
	@echo 'make faults     such guests, and one fault after the other: bad cables, cuts, full disks, no memory, what stops or is killed,'
	@echo '                backends that fail: SOAK_TIME=600 (seconds; 3600), ARGS="--seed 1". Takes root'
	@echo 'make cluster    the resource agent in a Pacemaker cluster of two nodes (namespaces): nodes lost, cut off, back, moved to;'
	@echo '                ARGS=--disk for a guest with a disk, --tls for TLS between the nodes'
	@echo 'make service    multifd@.service: a Debian 12 with the packages boots in namespaces, and guests move by its units. Takes root'
	@echo 'make picture    the page of figures in a browser without a display, looked at, and as .build/figures.png'
	@echo 'make afternoon  an installation, and what an author of a backend does with it first, in a root folder of its own'
	@echo 'make judge      every wrong backend of Tests/BadBackends against all of the harness'
	@echo 'make fuzz       random mutations of recorded streams, then libFuzzer over every parser and whole sessions:'
	@echo '                TIME=3600 for an hour each'
	@echo 'make sanitize   the harness over the built-in backends under ASan and TSan'
	@echo 'make examples   build the example backends and run the harness on each; ARGS=--quick for the short form'
	@echo 'make certificates  what the harness says of the backends, beside them in the build'
	@echo 'make docs       renew the tables in Plugins.md that come from code'
	@echo 'make docc       what is public, as DocC has it, in .build/docc: for a web server'
	@echo 'make man        the man pages, of the programs and of the manual, in $(MAN)'
	@echo 'make install    PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'
	@echo 'make uninstall  what install put there'
	@echo 'make deb        Debian packages: multifd, multifd-harness, libmultifd-dev; in $(PACKAGES)'
	@echo 'make deb-check  those and make dist in a fresh Debian 12 and 13: installed, used, purged; and lintian. Takes root'
	@echo 'make dist       one tarball for authors of backends who have no Swift: harness, header, skeletons, manual'
	@echo 'make format     rewrite the sources as .swift-format says; make lint only checks'
	@echo 'make clean      remove what was built'

setup:
	Support/setup

build:
	$(SWIFT_BUILD) --build-tests

# What the demo runs and no more: the tests take most of a build's time. One product at a time, which
# costs a second each: what is shared is built once, for the tests too.
DEMO := multifd multifd-lab multifd-zstd
demo: setup
	for product in $(DEMO); do $(SWIFT_BUILD) --product $$product || exit 1; done
	$(BUILD)/multifd-lab demo

test: setup arrows agent build
	SWIFT_TEST='$(SWIFT_TEST)' Support/run-tests

only: build
	$(SWIFT_TEST) --filter '$(FILTER)'

agent:
	Support/check-agent

arrows:
	SWIFT='$(SWIFT)' Support/arrows

soak: setup build
	MULTIFD_SOAK=1 $(SWIFT_TEST) \
	  --filter 'RolesTests.(StockPrimary|DyingPrimary|SyntheticSession|KilledStandby)'
	$(MAKE) kills ARGS='--kills 200'
	$(MAKE) kills ARGS='--kills 8 --slow 50 --loss primary,standby --before none'
	$(MAKE) kills ARGS='--kills 40 --tls'
	$(MAKE) restarts
	$(MAKE) faults

# What guests are protected with, and what looks at them.
protected: setup
	for product in multifd multifd-lab; do $(SWIFT_BUILD) --product $$product || exit 1; done

# Guests with disks and a network: what others see of them against what they remember.
kills: protected
	$(BUILD)/multifd-lab protect $(ARGS)

# One guest, whose standby is lost and comes back: by checkpoints that notice what hangs, and by those that are rare.
restarts: protected
	$(BUILD)/multifd-lab protect-restarts $(ARGS)
	$(BUILD)/multifd-lab protect-restarts --how server --checkpoint 2s --restarts 5 $(ARGS)

# Guests that meet one fault after the other, in seconds; the same seed has the same faults. Takes root.
SOAK_TIME ?= 3600
faults: protected
	$(BUILD)/multifd-lab soak --time $(SOAK_TIME) $(ARGS)

# The resource agent in a cluster of two nodes. Takes root; of the cluster's packages nothing is installed.
cluster: setup
	$(SWIFT_BUILD) --product multifd
	Tests/Cluster/run $(ARGS)

# The unit, in a machine of namespaces with the packages and systemd in it.
service: setup deb
	Support/setup --peers 111
	Support/need mmdebstrap ip=iproute2
	Tests/Service/run $(ARGS)

# make test has it too where there is a browser, but takes no picture.
picture: setup build
	Support/need chromium
	MULTIFD_PICTURE=$(CURDIR)/.build/figures.png $(SWIFT_TEST) --filter BrowserTests

# Every wrong backend, and the prototype in Python, against every test of the harness: those that make test leaves out for
# their time, too.
judge: setup build
	MULTIFD_SOAK=1 $(SWIFT_TEST) --filter 'HarnessTests.SelfTests|ExamplesTests.ExamplesTests/HarnessTests'

# What an author does first, from an installation as it is shipped. (make test does it with the build's programs.)
AFTERNOON := .build/afternoon
afternoon: setup
	rm -rf $(AFTERNOON)
	$(MAKE) install DESTDIR=$(CURDIR)/$(AFTERNOON) PREFIX=/usr
	Support/afternoon $(AFTERNOON)

interop:
	Support/setup --peers all
	$(MAKE) build
	$(BUILD)/multifd-lab interop $(ARGS)

# What is measured, and what measures it: without the tests, which take most of a build's time. Certified, as it is
# installed.
measured: certificates
	Support/setup --peers 111
	$(SWIFT_BUILD) --product multifd-lab

bench: measured
	$(BUILD)/multifd-lab bench page --output docs/RESULTS.md $(ARGS)

# What protection costs a guest, next to the same guest without it.
bench-protect: protected
	$(BUILD)/multifd-lab protect-cost $(ARGS)

bench-scale: measured
	$(BUILD)/multifd-lab bench scale $(ARGS)

bench-store:
	Support/setup --peers all
	$(MAKE) build
	$(BUILD)/multifd-lab bench store $(ARGS)

# Links that are limited take root.
bench-relay:
	Support/setup --peers 111
	$(MAKE) build
	$(BUILD)/multifd-lab bench relay $(ARGS)

# As shipped, and then with both sides acknowledging at once. Twice 10 minutes; ARGS='--checkpoints 10' for a look.
STOCK := '$(CURDIR)/$(BUILD)/multifd-lab qemu 111'
CHECKPOINT := $(BUILD)/multifd bench checkpoint --primary $(STOCK) --secondary $(STOCK) --accel tcg $(ARGS)
bench-checkpoint:
	Support/setup --peers 111
	$(MAKE) build
	$(CHECKPOINT)
	Support/quickack $(CHECKPOINT)

# Seconds for each of libFuzzer's targets.
TIME ?= 60
fuzz: setup build
	$(BUILD)/multifd-fuzz $(ARGS)
	SWIFT='$(SWIFT)' Support/fuzz $(TIME)

# dlopen()ed libraries need what the sanitizer's runtime, linked into the executable, has not been asked for. And
# multifd-probe, which has nothing else of Swift's, finds no library of the toolchain by itself. The backends get
# none of it: load/run-path would have something to say.
#
# The tests run in forks of the zygote, as they always do. TSan's runtime can be forked where a process has one thread
# of its program's, which the zygote has: its child starts the runtime's own thread anew, and sees all that follows.
# (In the fork of a process with several it would see nothing.)
SWIFT_RUNTIME = $(shell $(SWIFT) -print-target-info | sed -n 's|.*"\(/.*/swift/linux\)".*|\1|p' | head -n 1)
TSAN_LINK = -rpath $(SWIFT_RUNTIME) --export-dynamic -u __tsan_external_write -u __tsan_external_read \
  -u __tsan_ignore_thread_begin -u __tsan_ignore_thread_end
sanitize:
	$(call sanitized,address,.build-asan,--export-dynamic)
	$(call sanitized,thread,.build-tsan,$(TSAN_LINK))

# Sanitizer, scratch path, linker's options: one product at a time, since the tests are not wanted.
define sanitized
$(SWIFT_BUILD) --sanitize=$(1) --scratch-path $(2) --product multifd-harness \
  $(foreach option,$(3),-Xlinker $(option))
for product in $(PLUGINS:%=multifd-%); do \
  $(SWIFT_BUILD) --sanitize=$(1) --scratch-path $(2) --product $$product || exit 1; \
done
for plugin in $(PLUGINS); do \
  echo "== $$plugin under -fsanitize=$(1)"; \
  $(2)/release/multifd-harness $(2)/release/libmultifd-$$plugin.so --quick --skip perf --timeout 300 $(ARGS) || exit 1; \
done
endef

examples: build
	for example in $(EXAMPLES); do \
	  $(MAKE) -C Examples/$$example check CPPFLAGS='-I$(CURDIR)/Sources/PluginAPI/include' \
	    HARNESS='$(CURDIR)/$(BUILD)/multifd-harness --plugin-dir $(CURDIR)/$(BUILD)' ARGS='$(ARGS)' || exit 1; \
	done

# Beside each backend what the harness has found out about these very bytes, so that `multifd send` need not
# decode all that it sends. Where that cannot be found out, it decodes all.
certificates: setup
	for product in multifd multifd-probe multifd-harness $(PLUGINS:%=multifd-%); do \
	  $(SWIFT_BUILD) --product $$product || exit 1; \
	done
	for plugin in $(PLUGINS); do $(call certified,$(BUILD)/multifd-harness,$(BUILD)/libmultifd-$$plugin); done

# The harness, and a library without its .so.
certified = $(1) --quick --skip perf --certificate $(2).certificate.json $(2).so >/dev/null || \
  { rm -f $(2).certificate.json; echo "$(2).so: not certified, see $(1) --quick"; }

docs: build
	Support/generate-docs

# The programs describe themselves.
man: $(if $(PROGRAMS),,installed-programs)
	rm -rf $(MAN)
	Support/man $(MAN) --bin $(BINARIES)

# The installed programs carry their Swift runtime in themselves, and the backends (Embedded Swift) need none: nothing
# of Swift has to be on the machine. One product at a time, so that the tests' own executables are not built.
#
# PROGRAMS=FOLDER takes what lies there in their place and builds nothing: .build/release for a look at an
# installation, which finds its Swift runtime only where this one is.
installed-programs:
	for program in multifd multifd-harness; do \
	  $(SWIFT_BUILD) --static-swift-stdlib --scratch-path $(INSTALL_BUILD) --product $$program || exit 1; \
	done
	for product in probe $(PLUGINS); do \
	  $(SWIFT_BUILD) --product multifd-$$product || exit 1; \
	done

# The skeletons are written by the installed program itself, so that they name the installation; DESTDIR is not
# part of that.
PKG_CONFIG_FILE = sed -e 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' Support/multifd-plugin.pc.in
# Completions as the programs write them, at the places that bash, zsh and fish look at.
install: ROOT = $(DESTDIR)$(PREFIX)
install: SHARE = $(ROOT)/share
install: DOC = $(SHARE)/doc/multifd
install: SKELETONS = $(SHARE)/multifd/skeletons
install: man $(if $(PROGRAMS),,installed-programs)
	install -d $(ROOT)/bin $(ROOT)/lib/multifd $(ROOT)/libexec/multifd $(ROOT)/include $(SHARE)/pkgconfig $(DOC)/Examples $(DOC)/docs \
	  $(SKELETONS) $(SHARE)/multifd/metrics $(ROOT)/lib/systemd/system $(ROOT)/lib/ocf/resource.d/multifd \
	  $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	install -s -m 755 $(patsubst %,$(BINARIES)/%,multifd multifd-harness) $(ROOT)/bin/
	install -s -m 755 $(BUILD)/multifd-probe $(ROOT)/libexec/multifd/
	install -s -m 644 $(PLUGINS:%=$(BUILD)/libmultifd-%.so) $(ROOT)/lib/multifd/
	install -m 644 Sources/PluginAPI/include/multifd_plugin.h $(ROOT)/include/
	$(PKG_CONFIG_FILE) >$(SHARE)/pkgconfig/multifd-plugin.pc
	for unit in run-multifd.mount multifd@.service; do \
	  sed -e 's|@PREFIX@|$(PREFIX)|' Support/$$unit >$(ROOT)/lib/systemd/system/$$unit || exit 1; \
	done
	install -m 755 Support/ocf/multifd $(ROOT)/lib/ocf/resource.d/multifd/
	install -m 644 Support/metrics/alerts.yml Support/metrics/dashboard.json $(SHARE)/multifd/metrics/
	install -m 644 $(DOCS) $(DOC)/
	tar -C docs -cf - . | tar -C $(DOC)/docs --no-same-owner -xf -
	for section in 1 3 5 7; do \
	  install -d $(SHARE)/man/man$$section && install -m 644 $(MAN)/*.$$section $(SHARE)/man/man$$section/ || exit 1; \
	done
	for program in multifd multifd-harness; do \
	  $(ROOT)/bin/$$program --generate-completion-script bash >$(SHARE)/bash-completion/completions/$$program && \
	  $(ROOT)/bin/$$program --generate-completion-script zsh >$(SHARE)/zsh/site-functions/_$$program && \
	  $(ROOT)/bin/$$program --generate-completion-script fish >$(SHARE)/fish/vendor_completions.d/$$program.fish || exit 1; \
	done
	for plugin in Nocomp Zlib Zstd LZ4 Igzip; do \
	  install -m 644 Sources/Plugins/$$plugin/README.md $(DOC)/$$plugin.md || exit 1; \
	done
	$(if $(PROGRAMS),true,for plugin in $(PLUGINS); do \
	  $(call certified,$(ROOT)/bin/multifd-harness,$(ROOT)/lib/multifd/libmultifd-$$plugin); \
	done)
	tar -C Examples --exclude='*.so' --exclude=target --exclude=.gitignore -cf - . | tar -C $(DOC)/Examples --no-same-owner -xf -
	rm -rf $(SKELETONS)/*
	for language in c c++ rust swift python; do \
	  $(ROOT)/bin/multifd plugins new example --language $$language --dir $(SKELETONS)/$$language >/dev/null && \
	  sed -i 's|$(ROOT)/|$(PREFIX)/|g' $(SKELETONS)/$$language/Makefile || exit 1; \
	done

# What backends are built by, on stdout.
pkg-config:
	@$(PKG_CONFIG_FILE)

uninstall: ROOT = $(DESTDIR)$(PREFIX)
uninstall: SHARE = $(ROOT)/share
uninstall:
	rm -f $(ROOT)/bin/multifd $(ROOT)/bin/multifd-harness $(ROOT)/include/multifd_plugin.h \
	  $(SHARE)/pkgconfig/multifd-plugin.pc $(ROOT)/libexec/multifd/multifd-probe \
	  $(foreach end,so certificate.json,$(patsubst %,$(ROOT)/lib/multifd/libmultifd-%.$(end),$(sort $(PLUGINS) igzip))) \
	  $(addprefix $(ROOT)/lib/systemd/system/,run-multifd.mount multifd@.service)
	rm -f $(SHARE)/man/man1/multifd.1 $(SHARE)/man/man1/multifd-*.1 $(SHARE)/man/man3/multifd_plugin.3 \
	  $(SHARE)/man/man3/multifd_plugin.h.3 $(SHARE)/man/man5/harness.toml.5 $(SHARE)/man/man5/multifd.toml.5 $(SHARE)/man/man7/multifd-*.7
	rm -f $(foreach program,multifd multifd-harness,$(SHARE)/bash-completion/completions/$(program) \
	  $(SHARE)/zsh/site-functions/_$(program) $(SHARE)/fish/vendor_completions.d/$(program).fish)
	rm -rf $(SHARE)/doc/multifd $(SHARE)/multifd $(ROOT)/lib/ocf/resource.d/multifd
	-rmdir $(ROOT)/lib/multifd $(ROOT)/libexec/multifd

# What packages are made of: an installation as it is shipped, with man pages of the day on which its sources were last changed.
stage: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
stage:
	rm -rf $(STAGE)
	$(MAKE) install DESTDIR=$(CURDIR)/$(STAGE) PREFIX=/usr

deb: stage
	Support/need dpkg-shlibdeps=dpkg-dev
	Support/deb $(STAGE) $(VERSION) $(PACKAGES)

dist: stage
	Support/dist $(STAGE) $(VERSION) $(PACKAGES)

deb-check: deb dist
	Support/need lintian mmdebstrap
	Support/deb-check $(PACKAGES)

# One that is started so shows it: swift's docc preview, python3 -m http.server.
docc: build
	Support/docc .build/docc --build $(BUILD)

format:
	$(SWIFT) format -i -r $(SOURCES)

lint:
	$(SWIFT) format lint --strict -r $(SOURCES)

clean:
	rm -rf .build .build-asan .build-tsan $(INSTALL_BUILD)
