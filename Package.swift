// swift-tools-version: 6.2
// The layout is the architecture: see ARCHITECTURE.md. Dependencies run downwards only.
import Foundation
import PackageDescription

/// A backend is Embedded Swift (no Swift runtime among its NEEDED) and exports one symbol.
/// Embedded Swift does not autolink module maps, so the codec library is named here.
func backend(_ name: String, system: String? = nil, link: String? = nil) -> Target {
  .target(
    name: name,
    dependencies: ["PluginAPI"] + (system.map { [Target.Dependency(stringLiteral: $0)] } ?? []),
    path: "Sources/Plugins/\(name)",
    exclude: ["README.md"],
    swiftSettings: [.enableExperimentalFeature("Embedded")],
    linkerSettings: (link.map { [.linkedLibrary($0)] } ?? []) + [
      // Without a name of its own a library's version definition has the path it was linked at.
      .unsafeFlags([
        "-Xlinker", "--version-script=\(Context.packageDirectory)/Support/plugin.map",
        "-Xlinker", "-soname=libmultifd-\(name.lowercased()).so",
      ])
    ])
}

func host(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
  .target(name: name, dependencies: dependencies, path: "Sources/Host/\(name)", exclude: exclude)
}

/// What an executable that opens backends has for them: where one that counts its own coverage
/// reports it, what ThreadSanitizer is not to report of one, and a mallopt() that is noticed.
let exported = [
  "__sanitizer_cov_8bit_counters_init", "__sanitizer_cov_pcs_init", "__tsan_default_suppressions",
  "mallopt",
]
.flatMap { ["-Xlinker", "--export-dynamic-symbol=\($0)"] }

/// The runtime that Support/fuzz names. multifd-fuzz looks its driver up by name, so that it is the
/// same program without it.
let libFuzzer = Context.environment["MULTIFD_FUZZER"].map { runtime -> [LinkerSetting] in
  let driver = ["-u", "LLVMFuzzerRunDriver", "--export-dynamic-symbol=LLVMFuzzerRunDriver"]
  return [
    .unsafeFlags((driver + [runtime]).flatMap { ["-Xlinker", $0] }), .linkedLibrary("stdc++"),
  ]
}

let argumentParser = Target.Dependency.product(
  name: "ArgumentParser", package: "swift-argument-parser")

// Tests, and what drives them, that wait more than they compute: to optimize them takes minutes, the
// most of them at the end of a build, when one processor has nothing left to do.
let unoptimized: [SwiftSetting] = [.unsafeFlags(["-Onone"])]

/// Nobody imports tests, so that nobody waits for their module while the rest of them is compiled: it
/// is a second look at all of their declarations.
func tests(
  _ name: String, _ dependencies: [Target.Dependency], optimized: Bool = false,
  exclude: [String] = []
) -> Target {
  .testTarget(
    name: name, dependencies: dependencies, path: "Tests/\(name)", exclude: exclude,
    swiftSettings: [.unsafeFlags(["-no-emit-module-separately-wmo"])]
      + (optimized ? [] : unoptimized))
}

let package = Package(
  name: "multifd",
  products: [
    .library(name: "multifd-nocomp", type: .dynamic, targets: ["Nocomp"]),
    .library(name: "multifd-zlib", type: .dynamic, targets: ["Zlib"]),
    .library(name: "multifd-zstd", type: .dynamic, targets: ["Zstd"]),
    .library(name: "multifd-lz4", type: .dynamic, targets: ["LZ4"]),
    .executable(name: "multifd", targets: ["multifd"]),
    .executable(name: "multifd-probe", targets: ["multifd-probe"]),
    .library(name: "Harness", targets: ["Harness"]),
    .executable(name: "multifd-harness", targets: ["multifd-harness"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
  ],
  targets: [
    // The C ABI: a header and a module map, nothing else.
    .target(name: "PluginAPI", path: "Sources/PluginAPI"),

    // The codec libraries, linked by their backend and by nothing else.
    .systemLibrary(
      name: "CZlib", path: "Sources/Plugins/CZlib", pkgConfig: "zlib",
      providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(
      name: "CZstd", path: "Sources/Plugins/CZstd", pkgConfig: "libzstd",
      providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(
      name: "CLZ4", path: "Sources/Plugins/CLZ4", pkgConfig: "liblz4",
      providers: [.apt(["liblz4-dev"])]),

    backend("Nocomp"),
    backend("Zlib", system: "CZlib", link: "z"),
    backend("Zstd", system: "CZstd", link: "zstd"),
    backend("LZ4", system: "CLZ4", link: "lz4"),

    // The host, from the bottom up.
    .target(name: "CLinux", path: "Sources/Host/CLinux"),
    .target(name: "CProcessState", path: "Sources/Host/CProcessState"),
    host("System", ["CLinux"]),
    host("Memory", ["System", "CLinux"]),
    host("Wire", []),
    host("NBD", []),
    host("Digest", []),
    host("TOML", []),
    // A program that tries a backend's library before the loader opens it; built wherever the
    // loader is. Linked as an Embedded product is, so that nothing of Swift's has to be found and
    // set up each time.
    .executableTarget(
      name: "multifd-probe", dependencies: ["PluginAPI", "CProcessState"],
      path: "Sources/Host/CPluginProbe",
      linkerSettings: [
        .linkedLibrary("dl"),
        .unsafeFlags(["-enable-experimental-feature", "Embedded"] + exported),
      ]),
    host("PluginLoader", ["PluginAPI", "Digest", "System", "CLinux", "multifd-probe"]),
    host("COLO", ["Memory", "System"]),
    host("Store", ["Memory", "System", "Wire", "CLinux"]),
    .systemLibrary(
      name: "CGnuTLS", path: "Sources/Host/CGnuTLS", pkgConfig: "gnutls",
      providers: [.apt(["libgnutls28-dev"])]),
    host("TLS", ["CGnuTLS", "System"]),
    host("Transport", ["System", "CLinux", "TLS"]),
    host("Chart", []),
    host("Version", []),
    // What the harness writes beside a library, and a host reads there.
    host("Certificates", ["Digest"]),
    // What `multifd plugins new` writes: sources of other languages, and Swift that is not the
    // target's.
    .target(
      name: "Skeletons", path: "Sources/Host/Skeletons",
      resources: ["c", "cxx", "rust", "swift", "python", "common"].map { .embedInCode($0) }),
    host("Observe", [.product(name: "Histogram", package: "hdrhistogram-swift")]),
    host(
      "Migration",
      [
        "COLO", "Store", "Transport", "TLS", "Observe", "PluginLoader", "PluginAPI", "Certificates",
        "Wire", "Memory", "System",
      ]),
    host(
      "Roles",
      [
        "Migration", "COLO", "Store", "Transport", "TLS", "Observe", "PluginLoader", "Wire", "NBD",
        "Memory", "System", "CLinux",
      ],
      exclude: ["Bench/loadguest.s"]),
    .executableTarget(
      name: "multifd",
      dependencies: [
        "Roles", "Migration", "Store", "Transport", "TLS", "Observe", "PluginLoader", "Wire",
        "System",
        "Skeletons", "Version", "Certificates", "Chart", "Memory", "CLinux", "TOML", argumentParser,
      ],
      path: "Sources/Host/multifd"),

    // What a backend's author tries a backend with. It knows the C ABI and the loader, not the
    // host.
    .target(name: "CHarness", path: "Sources/Host/CHarness"),
    host(
      "Harness",
      [
        "PluginAPI", "PluginLoader", "CLinux", "CHarness", "CProcessState", "Chart", "Certificates",
        "TOML",
      ]),
    .executableTarget(
      name: "multifd-harness",
      dependencies: ["Harness", "Certificates", "Version", "CLinux", argumentParser],
      path: "Sources/Host/HarnessTool",
      linkerSettings: [.unsafeFlags(exported)]),

    // The tests' own peers: stock QEMUs, a guest that checks its own memory, and a driver for both.
    .target(
      name: "TestSupport", dependencies: ["System", "CLinux", "CGnuTLS", "TLS"],
      path: "Tests/Support", swiftSettings: unoptimized),
    // What benchmarks have measured, and the page that is made of it.
    .target(name: "Results", dependencies: ["Chart"], path: "Tests/Results"),
    .executableTarget(
      name: "multifd-lab",
      dependencies: [
        "TestSupport", "Results", "COLO", "Memory", "Observe", argumentParser,
      ],
      path: "Tests/Lab", swiftSettings: unoptimized),
    .executableTarget(
      name: "multifd-fuzz",
      dependencies: [
        "TestSupport", "SessionReplay", "Roles", "Migration", "Store", "Transport", "Wire", "NBD",
        "Certificates", argumentParser,
      ],
      path: "Tests/Fuzz",
      linkerSettings: libFuzzer),
    // Plays recorded migrations through decoders, backends and stage: what the roles' results are
    // compared with.
    .target(
      name: "SessionReplay",
      dependencies: [
        "TestSupport", "CLinux", "COLO", "Wire", "PluginLoader", "Memory", "PluginAPI",
      ],
      path: "Tests/SessionReplay"),
    tests("PluginAPITests", []),
    tests("PluginsTests", ["PluginAPI"], optimized: true),
    tests("PluginLoaderTests", ["PluginLoader", "PluginAPI", "TestSupport"]),
    tests(
      "HarnessTests", ["Harness", "CHarness", "Certificates", "PluginLoader", "TestSupport"],
      exclude: ["Golden", "GrownHost"]),
    tests("SystemTests", ["System", "TestSupport"]),
    tests("WireTests", ["Wire", "TestSupport"]),
    tests("TOMLTests", ["TOML"]),
    tests("NBDTests", ["NBD"]),
    tests("MemoryTests", ["Memory", "System", "TestSupport"], optimized: true),
    tests(
      "COLOTests", ["COLO", "Memory", "Wire", "System", "SessionReplay", "TestSupport"]),
    tests("StoreTests", ["Store", "Memory", "TestSupport"], optimized: true),
    tests("TLSTests", ["TLS", "TestSupport"]),
    tests("TransportTests", ["Transport", "System", "TLS", "TestSupport"]),
    tests("CertificatesTests", ["Certificates", "Digest", "TestSupport"]),
    tests("ChartTests", ["Chart"]),
    tests("ObserveTests", ["Observe"]),
    tests(
      "MigrationTests",
      [
        "Migration", "SessionReplay", "PluginLoader", "Transport", "Wire", "System", "Certificates",
        "TestSupport",
      ], optimized: true),
    tests(
      "RolesTests",
      [
        "Roles", "Migration", "COLO", "Store", "Transport", "TLS", "PluginLoader", "PluginAPI",
        "Wire", "Memory", "System", "Observe", "SessionReplay", "TestSupport",
      ]),
    tests("FiguresTests", ["Roles", "Migration", "Observe", "Transport", "TestSupport"]),
    tests("MultifdTests", ["TestSupport"]),
    tests("InteropTests", ["TestSupport"]),
    tests("ExamplesTests", ["PluginLoader", "PluginAPI", "TestSupport"]),
    tests("ResultsTests", ["Results", "Chart"]),
    // What the repository says about itself.
    tests("RepositoryTests", ["Version", "TestSupport"]),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c11
)

// QEMU's zlib by ISA-L, which Debian has for amd64 and arm64. Where that is not there everything else
// builds and works, and zlib is done by zlib.
if FileManager.default.fileExists(atPath: "/usr/include/isa-l.h") {
  package.products.append(.library(name: "multifd-igzip", type: .dynamic, targets: ["Igzip"]))
  package.targets += [
    .systemLibrary(
      name: "CISAL", path: "Sources/Plugins/CISAL", pkgConfig: "libisal",
      providers: [.apt(["libisal-dev"])]),
    backend("Igzip", system: "CISAL", link: "isal"),
  ]
}

// An arrow that a file uses is an arrow that is drawn: without this a member can be used of a
// module that only another file, or another module, has imported. Support/arrows, of `make test`,
// compares the rest.
for target in package.targets where target.type != .system {
  target.swiftSettings =
    (target.swiftSettings ?? []) + [
      .enableUpcomingFeature("MemberImportVisibility")
    ]
}
