import Foundation
import TestSupport
import Testing

/// What is public, as `make docc` has it.
@Suite("DocC")
struct DocCTests {
  @Test("Every comment refers to what is there, and every module that is public has its pages")
  func complete() throws {
    let tools = ["docc", "swift-symbolgraph-extract", "clang"]
    guard try Repository.run(["which"] + tools).code == 0 else {
      SkipReason("there is no \(tools.joined(separator: ", "))").announce("docc")
      try Test.cancel("SKIPPED: Swift's tools are not in the path")
    }
    let folder = try TemporaryFolder()
    let ended = try Repository.run(
      [Repository.root + "/Support/docc", folder.path, "--build", Lab.executableFolder])
    #expect(ended.code == 0, "\(ended.output)\(ended.errors)")
    let pages = folder("multifd.doccarchive/data/documentation/")
    for module in ["pluginapi", "wire", "colo", "memory", "store", "transport", "roles"] {
      #expect(FileManager.default.fileExists(atPath: "\(pages)\(module).json"), "\(module)")
    }
    // Of the header, with what is said of it.
    let methods = try String(
      contentsOfFile: pages + "pluginapi/multifdmethods.json", encoding: .utf8)
    #expect(
      methods.contains("abi_version") || methods.contains("struct_size"), "\(methods.prefix(400))")
  }
}
