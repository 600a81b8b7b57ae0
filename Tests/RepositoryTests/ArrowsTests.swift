import Foundation
import TestSupport
import Testing

/// Support/arrows sees what is wrong, and where.
@Suite("Arrows", .serialized, .early)
struct ArrowsTests {
  /// Runs Support/arrows on a package.
  private func arrows(_ package: borrowing SmallPackage) throws -> Repository.Ended {
    try Repository.run([
      Repository.root + "/Support/arrows", "--package", package.folder.path,
    ])
  }

  /// The package's arrows are wrong in this one way.
  private func expect(_ complaint: String, _ package: borrowing SmallPackage) throws {
    let ended = try arrows(package)
    #expect(ended.code == 1, "\(ended)")
    #expect(ended.errors == complaint + "\n")
  }

  @Test("those of this package are what its files import")
  func here() throws {
    let ended = try Repository.run([Repository.root + "/Support/arrows"])
    #expect(ended.code == 0, "\(ended.errors)")
  }

  @Test("every form of an import is one, and what a comment or a literal says is none")
  func forms() throws {
    let package = try SmallPackage()
    let ended = try arrows(package)
    #expect(ended.code == 0, "\(ended.errors)")
    #expect(ended.errors == "")
    let lines = ended.output.split(whereSeparator: \.isNewline)
      .map { $0.split(separator: " ").joined(separator: " ") }
    #expect(
      lines == [
        "targets", "CBase", "CTop -> CBase", "Plain", "Shapes",
        "House -> Plain, Shapes, CTop", "my-tool -> House", "HouseTests -> House, my-tool",
        "rooms of Sources/House", ". -> Attic", "Attic -> Cellar", "Cellar -> .",
      ])
  }

  @Test("an arrow that no file uses")
  func unused() throws {
    let package = try SmallPackage()
    try package.replace("Package.swift", #"["CTop","#, #"["CTop", "CBase","#)
    try expect("Package.swift: House draws an arrow to CBase, which no file of it uses", package)
  }

  @Test(
    "an import that is not drawn",
    arguments: [
      "import CBase", "internal import CBase", "@_implementationOnly import CBase",
      "@testable import struct CBase.X", "import Plain; import CBase",
    ])
  func undrawn(_ line: String) throws {
    let package = try SmallPackage()
    try package.replace("Sources/House/Attic/Attic.swift", "import Plain", line + "\nimport Plain")
    try expect(
      "Sources/House/Attic/Attic.swift:1: House uses CBase, which Package.swift does not draw",
      package)
  }

  @Test(
    "a header of another target that is not drawn",
    arguments: [
      #"#include "../CTop/include/ctop.h""#, "#include <ctop.h>", ##"#  include "ctop.h""##,
    ])
  func header(_ line: String) throws {
    let package = try SmallPackage()
    try package.write("Sources/CBase/base.c", "/* \"\n#include <ctop.h> */\n\(line)\n")
    let ended = try arrows(package)
    #expect(ended.code == 1)
    #expect(
      ended.errors.hasPrefix(
        "Sources/CBase/base.c:3: CBase uses CTop, which Package.swift does not draw\n"), "\(ended)")
  }

  @Test("a module of nobody's")
  func unknown() throws {
    let package = try SmallPackage()
    try package.replace("Sources/Plain/Plain.swift", "import Foundation", "import ArgumentParser")
    try expect(
      "Sources/Plain/Plain.swift:1: Plain uses ArgumentParser, which Package.swift does not draw",
      package)
  }

  @Test("a circle of targets")
  func circle() throws {
    let package = try SmallPackage()
    try package.replace(
      "Package.swift", #"name: "Plain""#, #"name: "Plain", dependencies: ["House"]"#)
    try package.replace("Sources/Plain/Plain.swift", "import Foundation", "import House")
    try expect("Package.swift: a circle: Plain House Plain", package)
  }

  @Test("a type of a room that may not be known, in code and in what is interpolated")
  func room() throws {
    let package = try SmallPackage()
    try package.replace(
      "Sources/House/Cellar/Cellar.swift", "// Attic", #"let text = "a \(f("b")) \(Attic())""#)
    try expect(
      "Sources/House/Cellar/Cellar.swift:3: Cellar names Attic of Attic, a room that it may not know",
      package)
  }

  @Test("a type of two rooms")
  func twice() throws {
    let package = try SmallPackage()
    try package.replace(
      "Sources/House/Cellar/Cellar.swift", "// Attic", "package final class Attic {}")
    let ended = try arrows(package)
    #expect(ended.code == 1)
    let declared = "Sources/House/Attic/Attic.swift:4"
    #expect(
      ended.errors.hasPrefix(
        "Sources/House/Cellar/Cellar.swift:3: Attic is declared in \(declared) too, in another room\n"
      ))
  }

  @Test("a room without a row")
  func rowless() throws {
    let package = try SmallPackage()
    try package.write("Sources/House/Porch/Porch.swift", "struct Porch {}\n")
    try expect(
      "Sources/House/Porch/Porch.swift: Support/rooms has no row for the folder Porch", package)
  }

  @Test("a debt that is paid")
  func debt() throws {
    let package = try SmallPackage()
    try package.write("Sources/House/House.swift", "struct House {}\n")
    try expect(
      "Support/rooms: . no longer names a type of Attic: the debt goes", package)
  }

  @Test("rows that go round in a circle")
  func rowCircle() throws {
    let package = try SmallPackage()
    try package.replace("Support/rooms", "room Cellar:", "room Cellar: Attic")
    let ended = try arrows(package)
    #expect(ended.code == 1)
    #expect(ended.errors.hasPrefix("Support/rooms: a circle: Sources/House/"), "\(ended)")
  }

  @Test("what cannot be read is not taken for right")
  func unreadable() throws {
    let package = try SmallPackage()
    try package.write("Sources/Plain/Plain.swift", "import Foundation\n/* no end\n")
    try expect(
      "Sources/Plain/Plain.swift: ends within a comment or a literal, as it seems here", package)
    try package.write("Package.swift", "no manifest\n")
    #expect(try arrows(package).code == 70)
  }
}
