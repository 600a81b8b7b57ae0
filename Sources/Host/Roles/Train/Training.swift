// Train: what an option's file is made from, by a backend that makes some of guests' pages; and what
// it is worth, on pages that it was not made from.

import Foundation
import Migration
import PluginLoader
import Wire

/// What a training is told.
public struct TrainingOptions: Sendable {
  /// The backend.
  public var backend: String
  /// Which of its options the file is for; nil: the first one that is a file.
  public var option: String?
  /// Stores with guests of the kind that will move.
  public var stores: [String]
  /// The file to write; there must be none.
  public var output: String
  /// Bytes of the file at most; nil: 112 KiB, or as many as the option takes.
  public var size: Int?
  /// Pages to take.
  public var pages = 8192

  /// A training with the defaults.
  public init(backend: String, stores: [String], output: String) {
    (self.backend, self.stores, self.output) = (backend, stores, output)
  }
}

/// What came of a training.
public struct TrainingSummary: Codable, Sendable {
  /// The file.
  public var file: String
  /// The option that it is for.
  public var option: String
  /// Bytes of it.
  public var size: Int
  /// The SHA-256 of them, in hexadecimal digits.
  public var sha256: String
  /// What it is called in a folder `dictionaries`.
  public var name: String
  /// Pages that it was made from.
  public var pages: Int
  /// Pages by which it was tried.
  public var tried: Int
  /// Bytes of pages for a byte of payload, of these: with the file, and without.
  public var ratio: Ratio

  /// Bytes of pages for a byte of payload.
  public struct Ratio: Codable, Sendable {
    /// With the file.
    public var with: Double
    /// Without.
    public var without: Double
  }
}

/// Makes the file of a backend's option from pages of guests.
public struct Training {
  private let options: TrainingOptions
  private let loader: PluginLoader

  /// - Parameter loader: finds the backend.
  public init(_ options: TrainingOptions, loader: PluginLoader) {
    (self.options, self.loader) = (options, loader)
  }

  /// Trains, tries, and writes the file.
  public func run() throws(Failure) -> TrainingSummary {
    do { return try train() } catch { throw Failure(error, at: "train") }
  }

  private func train() throws -> TrainingSummary {
    let backend = try loader.load(named: options.backend, to: .send)
    guard backend.profile.trains, let option = options.option ?? backend.trainedOption else {
      throw Failure(
        .refused, "backend \(backend.name)", "it makes no file of pages",
        hint: "'multifd plugins show NAME' says which do")
    }
    guard access(options.output, F_OK) != 0 else {
      throw Failure(.refused, options.output, "is there already", hint: "--output names another")
    }
    let sample = try PageSample(of: options.stores, most: options.pages, seed: 1)
    let (tenth, others) = sample.parted()
    guard !tenth.isEmpty else {
      throw Failure(
        .refused, options.stores.joined(separator: ", "),
        "\(sample.count) pages that are not zero are too few to learn from")
    }
    let file = try others.withUnsafeBytes { pages in
      try backend.train(
        option, from: pages, pageSize: sample.pageSize,
        most: options.size ?? min(112 << 10, backend.mostBytes(of: option)))
    }
    let with = try backend.parse([], files: [file])
    let ratio = TrainingSummary.Ratio(
      with: try ratio(of: tenth, sample.pageSize, backend, with),
      without: try ratio(of: tenth, sample.pageSize, backend, try backend.parse([])))
    try Data(file.contents).write(to: URL(filePath: options.output), options: .withoutOverwriting)
    return TrainingSummary(
      file: options.output, option: option, size: file.contents.count, sha256: file.sha256,
      name: file.name,
      pages: others.count / sample.pageSize, tried: tenth.count / sample.pageSize, ratio: ratio)
  }

  /// What becomes of pages in a channel that has sent nothing before.
  private func ratio(
    of pages: [UInt8], _ pageSize: Int, _ backend: Backend, _ values: OptionValues
  ) throws -> Double {
    let capacity = MultiFDPacketHeader.capacity(pageSize: pageSize)
    let channel = try backend.makeSender(
      id: 0, channels: 1, pageSize: pageSize, pageCount: capacity, options: values,
      inputMayChange: false)
    defer { channel.close() }
    let none = UnsafeBufferPointer<UInt64>(start: nil, count: 0)
    let count = pages.count / pageSize
    var payload = 0
    for start in stride(from: 0, to: count, by: capacity) {
      let places = (start..<min(start + capacity, count)).map { UInt64($0 * pageSize) }
      payload += try pages.withUnsafeBytes { memory in
        try places.withUnsafeBufferPointer { places in
          try channel.prepare(
            host: memory.baseAddress, normal: places, zero: none, flags: 0,
            packetNumber: UInt64(start / capacity + 1)
          ).size
        }
      }
    }
    return Double(pages.count) / Double(max(payload, 1))
  }
}
