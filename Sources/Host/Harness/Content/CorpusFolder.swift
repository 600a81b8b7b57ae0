/// Payloads that showed something new when they were tried, in a folder that outlives a run: the
/// next one begins where this one has ended.
struct CorpusFolder {
  private let path: String
  /// Those of earlier runs that fit this one: its format, and the same sizes.
  let recordings: [Recording]

  /// More are not read, nor of use: what is found is found in the first ones.
  private static let most = 1500

  /// The folder of a run's order; nil when it has none.
  init?(_ context: Context, _ library: Library, _ shape: Shape) {
    guard let path = context.order.corpus else { return nil }
    self.path = path
    let files = entries(of: path).filter { $0.hasSuffix(".case") }.prefix(Self.most)
    recordings = files.compactMap { file in
      guard let recording = readFile(path + "/" + file).flatMap({ Recording($0) }),
        recording.wireFormat == library.wireFormat, !recording.entries.isEmpty,
        recording.pageSize == shape.pageSize, recording.pageCount == shape.pageCount
      else { return nil }
      var fitting = recording
      fitting.options = context.order.options
      return fitting
    }
  }

  /// Writes one down, under a name that follows from what it is: two processes that find the same
  /// write the same.
  func keep(_ recording: Recording) {
    let bytes = recording.bytes
    let name = String(bytes.withUnsafeBytes { Recording.hash($0) }, radix: 16)
    bytes.withUnsafeBytes { _ = writeFile("\(path)/\(name).case", $0) }
  }
}
