import TestSupport
import Testing

@Suite("What the host is linked with")
struct LinkTests {
  @Test("GnuTLS is there, and neither the host nor what GnuTLS needs has a codec")
  func noCodec() throws {
    let ldd = try ChildProcess(["/usr/bin/ldd", MultiFDProcess.path])
    #expect(ldd.wait(.seconds(20)) == .code(0))
    let needed = ldd.output.lines.compactMap { $0.text.split(whereSeparator: \.isWhitespace).first }
    #expect(needed.contains { $0.hasPrefix("libgnutls.so") })
    for codec in ["libz.so", "libzstd.so", "liblz4.so", "libisal.so", "libbrotli"] {
      #expect(!needed.contains { $0.hasPrefix(codec) }, "\(codec) is one of \(needed)")
    }
  }
}
