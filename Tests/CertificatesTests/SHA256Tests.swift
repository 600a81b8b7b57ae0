import Certificates
import Digest
import Foundation
import Testing
import TestSupport

/// Vectors of FIPS 180-4 and of NIST's examples, and the length of every padding.
@Suite struct SHA256Tests {
  private func hash(_ bytes: some Sequence<UInt8>) -> String {
    var hash = SHA256()
    hash.update(bytes)
    return hash.hexadecimal()
  }

  @Test(
    "published vectors",
    arguments: [
      ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
      ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
      (
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
      ),
    ])
  func vectors(text: String, digits: String) {
    #expect(hash(text.utf8) == digits)
  }

  @Test("a million letters, in pieces of odd lengths")
  func million() {
    var whole = SHA256(), left = 1_000_000, piece = 1
    while left > 0 {
      whole.update(repeatElement(UInt8(ascii: "a"), count: min(piece, left)))
      left -= min(piece, left)
      piece = piece % 977 + 31
    }
    #expect(
      whole.hexadecimal() == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
  }

  @Test("a file's fingerprint is what others say of it, whatever its length")
  func file() throws {
    let folder = try TemporaryFolder()
    let path = folder("file")
    for count in [0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 70_000] {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
      try Data(bytes).write(to: URL(filePath: path))
      let print = try #require(Fingerprint(of: path))
      #expect(print.size == count && print.sha256 == hash(bytes))
      let tool = try ChildProcess(["/usr/bin/sha256sum", path])
      #expect(tool.wait(.seconds(30)) == .code(0))
      #expect(tool.output.text.hasPrefix(print.sha256 + " "), "\(count) bytes")
    }
    #expect(Fingerprint(of: folder("nothing")) == nil && Fingerprint(of: folder.path) == nil)
  }
}
