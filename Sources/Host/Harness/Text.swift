// Small text and file helpers, so that the library needs no Foundation.
import Glibc

/// A number with `digits` places behind the point.
func fixed(_ value: Double, _ digits: Int) -> String {
  guard value.isFinite, abs(value) < 1e15 else { return "-" }
  var scale = 1.0
  for _ in 0..<digits { scale *= 10 }
  let rounded = Int64((abs(value) * scale).rounded())
  let sign = value < 0 && rounded != 0 ? "-" : ""
  if digits == 0 { return sign + String(rounded) }
  let unit = Int64(scale)
  let fraction = String(rounded % unit)
  return sign + "\(rounded / unit)."
    + String(repeating: "0", count: digits - fraction.count) + fraction
}

/// Three digits that matter.
func figure(_ value: Double) -> String {
  fixed(value, abs(value) >= 100 ? 0 : abs(value) >= 10 ? 1 : 2)
}

/// Foreign text fit for a report: no control characters but line ends, not too long.
func clean(_ text: String, limit: Int = 300) -> String {
  var out = ""
  for scalar in text.unicodeScalars.prefix(limit) {
    let isControl = scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
    out.unicodeScalars.append(isControl && scalar != "\n" ? " " : scalar)
  }
  while out.last == "\n" || out.last == " " { out.removeLast() }
  return out + (text.unicodeScalars.count > limit ? "…" : "")
}

func padded(_ text: String, _ width: Int, left: Bool = false) -> String {
  let space = String(repeating: " ", count: max(0, width - text.count))
  return left ? space + text : text + space
}

/// Rows with aligned columns, the first to the left and the others to the right.
func table(_ rows: [[String]]) -> String {
  let columns = rows.map(\.count).max() ?? 0
  let widths = (0..<columns).map { column in
    rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
  }
  return rows.map { row in
    row.enumerated().map { padded($1, widths[$0], left: $0 > 0) }.joined(separator: "  ")
  }.joined(separator: "\n")
}

/// realpath(3); nil when there is no such thing.
func realPath(_ path: String) -> String? {
  guard let real = realpath(path, nil) else { return nil }
  defer { free(real) }
  return String(cString: real)
}

/// A whole file; nil when it cannot be read. At most 256 MiB.
func readFile(_ path: String) -> [UInt8]? {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  var status = stat()
  guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
    (0...(256 << 20)).contains(status.st_size)
  else { return nil }
  var complete = true
  let bytes = [UInt8](unsafeUninitializedCapacity: Int(status.st_size)) { buffer, count in
    // read() is told how much room is left behind `count`.
    while count < buffer.count {
      let got = read(descriptor, buffer.baseAddress! + count, buffer.count - count)
      if got < 0, errno == EINTR { continue }
      if got <= 0 { break }
      count += got
    }
    complete = count == buffer.count
  }
  return complete ? bytes : nil
}

/// Writes a file, replacing what was there.
@discardableResult
func writeFile(_ path: String, _ bytes: UnsafeRawBufferPointer) -> Bool {
  let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
  guard descriptor >= 0 else { return false }
  defer { close(descriptor) }
  return writeAll(descriptor, bytes)
}

/// Writes everything to a descriptor.
@discardableResult
func writeAll(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Bool {
  var done = 0
  while done < bytes.count {
    // `done` is below the count: the buffer is not empty here.
    let count = write(descriptor, bytes.baseAddress! + done, bytes.count - done)
    if count < 0, errno == EINTR { continue }
    guard count > 0 else { return false }
    done += count
  }
  return true
}

/// The entries of a folder, sorted; empty when it cannot be read.
func entries(of folder: String) -> [String] {
  guard let stream = opendir(folder) else { return [] }
  defer { closedir(stream) }
  var names: [String] = []
  while let entry = readdir(stream) {
    // d_name is a NUL-terminated array inside the record that readdir() has just returned, which is
    // valid until the next readdir() on this stream.
    let offset = MemoryLayout<dirent>.offset(of: \dirent.d_name)!
    let text = UnsafeRawPointer(entry).advanced(by: offset).assumingMemoryBound(to: CChar.self)
    let name = String(cString: text)
    if name != ".", name != ".." { names.append(name) }
  }
  return names.sorted()
}
