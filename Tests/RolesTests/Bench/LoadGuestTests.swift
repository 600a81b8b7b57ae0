import Foundation
import Roles
import TestSupport
import Testing

@Suite("The guest of bench checkpoint", .beside)
struct LoadGuestTests {
  static let tools = ["/usr/bin/as", "/usr/bin/ld", "/usr/bin/objcopy"]

  @Test(
    "Its bytes are what its source assembles to",
    .enabled(
      if: tools.allSatisfy { FileManager.default.isExecutableFile(atPath: $0) },
      "SKIPPED: there are no binutils"))
  func image() throws {
    #if arch(x86_64)
      let folder = try TemporaryFolder()
      let source = Fixtures.folder.appending(path: "../../Sources/Host/Roles/Bench/loadguest.s")
      for command in [
        ["as", "--32", "-o", folder("o"), source.path],
        [
          "ld", "-m", "elf_i386", "-Ttext", "0x100000", "-e", "0x100000", "-o", folder("elf"),
          folder("o"),
        ],
        ["objcopy", "-O", "binary", "-j", ".text", folder("elf"), folder("bin")],
      ] {
        let child = try ChildProcess(["/usr/bin/" + command[0]] + command.dropFirst())
        #expect(child.wait(.seconds(30)) == .code(0), "\(child.errors.text)")
      }
      let bytes = try Data(contentsOf: URL(filePath: folder("bin")))
      let words = LoadGuestImage.words.withUnsafeBytes { Data($0) }
      #expect(words == bytes, "assemble loadguest.s again, as its head says")
    #else
      SkipReason("the assembler is another machine's").announce("the load guest's bytes")
    #endif
  }
}
