// What `multifd plugins new` writes: a backend that builds and passes the harness, in four languages, as text in
// the executable, so that it is there from a build tree and from an installation alike.

import Foundation

/// A backend's first files.
struct Skeleton {
  /// What a skeleton can be written in.
  enum Language: String, CaseIterable {
    case c
    case cxx = "c++"
    case rust
    case swift
  }

  /// What the files are called and say.
  let files: [(path: String, text: String)]

  /// The files of a backend called `name`. `home` is the multifd that they are built against where
  /// pkg-config knows none.
  init(name: String, language: Language, home: Home) {
    let codec: String, table: String
    var files: [(path: String, text: String)]
    switch language {
    case .c:
      (codec, table) = ("backend.c", "backend.c")
      files = [
        ("backend.c", CFiles.source), ("Makefile", CFiles.makefile),
        ("plugin.map", CommonFiles.map),
      ]
    case .cxx:
      (codec, table) = ("backend.cpp", "backend.cpp")
      files = [
        ("backend.cpp", CxxFiles.source), ("Makefile", CxxFiles.makefile),
        ("plugin.map", CommonFiles.map),
      ]
    case .rust:
      (codec, table) = ("src/codec.rs", "src/lib.rs")
      files = [
        ("src/codec.rs", RustCodecFiles.codec), ("src/lib.rs", RustFiles.library),
        ("src/ffi.rs", RustFFIFiles.source), ("Cargo.toml", RustCodecFiles.cargo),
        ("rustfmt.toml", RustCodecFiles.rustfmt), ("Makefile", RustCodecFiles.makefile),
      ]
    case .swift:
      (codec, table) = ("Codec.swift", "Table.swift")
      files = [
        ("Codec.swift", SwiftCodecFiles.codec), ("Backend.swift", SwiftFiles.backend),
        ("Table.swift", SwiftFiles.table), ("Host.swift", SwiftCodecFiles.host),
        ("Header.h", SwiftCodecFiles.header), ("Makefile", SwiftCodecFiles.makefile),
        ("plugin.map", CommonFiles.map),
      ]
    }
    files += [("README.md", CommonFiles.readme), (".gitignore", CommonFiles.ignored)]
    let words = [
      "@NAME@": name, "@IDENT@": String(name.map { $0 == "-" ? "_" : $0 }), "@CODEC@": codec,
      "@TABLE@": table, "@INCLUDE@": home.include, "@PLUGINDIR@": home.plugins, "@BIN@": home.bin,
    ]
    self.files = files.map { file in
      let text = words.reduce(file.text) {
        $0.replacingOccurrences(of: $1.key, with: $1.value)
      }
      return (file.path, text)
    }
  }

  /// Writes the files into `folder`, which is made when it is not there.
  func write(to folder: String) throws {
    for file in files {
      let path = folder + "/" + file.path
      let parent = URL(fileURLWithPath: path).deletingLastPathComponent().path
      try FileManager.default.createDirectory(
        atPath: parent, withIntermediateDirectories: true)
      try Data(file.text.utf8).write(to: URL(fileURLWithPath: path), options: .withoutOverwriting)
    }
  }
}

extension Skeleton {
  /// Where this executable's header, backends and harness are: an installation or a build tree.
  struct Home {
    let bin: String
    let include: String
    let plugins: String

    /// Looks around the folder of the executable.
    init?(executableFolder bin: String) {
      let found = [
        // PREFIX/bin, and .build/TRIPLE/release of a source tree.
        (include: "../include", plugins: "../lib/multifd"),
        (include: "../../../Sources/PluginAPI/include", plugins: "."),
      ].first { FileManager.default.fileExists(atPath: "\(bin)/\($0.include)/multifd_plugin.h") }
      guard let found else { return nil }
      func path(_ relative: String) -> String {
        URL(fileURLWithPath: "\(bin)/\(relative)").standardizedFileURL.path
      }
      (self.bin, include, plugins) = (bin, path(found.include), path(found.plugins))
    }
  }
}
