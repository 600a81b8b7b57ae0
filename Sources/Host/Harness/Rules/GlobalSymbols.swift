import CHarness
import Glibc

/// Libraries that a backend opens when it is used, with symbols for everybody (`RTLD_GLOBAL`): the
/// next backend that looks for one of that name gets this one's. Told under `load/own-symbols`.
enum GlobalSymbols {
  /// Looks at all libraries of the process but those that it was started with.
  static func check(_ context: Context) {
    for path in mapped().sorted() where path.contains(".so") && isForEverybody(path) {
      context.fail(
        "opens \(path.split(separator: "/").last ?? "") with symbols for everybody, not RTLD_LOCAL",
        as: "load/own-symbols")
    }
  }

  /// Whether symbols of a library are found by whoever asks for none in particular, though this
  /// program does not need it itself.
  private static func isForEverybody(_ path: String) -> Bool {
    // As the dynamic linker lists it: what was there from the start is everybody's by right.
    guard !startedWith.contains(path), let symbols = readFile(path).flatMap({ ELFSymbols($0) })
    else { return false }
    return symbols.exported.prefix(200).contains { name in
      guard let address = dlsym(nil, name) else { return false }
      // The dynamic linker's own text, there as long as the library.
      return charness_library_of(address).flatMap { realPath(String(cString: $0)) } == path
    }
  }

  /// The libraries of this process before it opens a backend.
  private static let startedWith = mapped()

  /// The files that are mapped.
  private static func mapped() -> Set<String> {
    let file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return [] }
    defer { close(file) }
    // It has no size to be told.
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = read(file, &buffer, buffer.count), count > 0 {
      bytes += buffer[..<count]
    }
    return Set(
      bytes.split(separator: UInt8(ascii: "\n")).compactMap { line in
        line.firstIndex(of: UInt8(ascii: "/")).map { String(decoding: line[$0...], as: UTF8.self) }
      })
  }

  /// Notes what there is now.
  static func prepare() { _ = startedWith }
}
