import Foundation
import TestSupport

/// The mutations of one file.
struct Fuzzer {
  var input: Input
  var seed: UInt64
  var guardrail: Guardrail
  var thread: Int

  func run(first: UInt64, count: UInt64) -> Report {
    var report = Report(name: input.name)
    var mutable = MutableInput(input.bytes)
    let begin = DispatchTime.now().uptimeNanoseconds
    guardrail.begin(input, thread: thread)
    for number in first..<first &+ count {
      guardrail.begin(number, thread: thread)
      var random = SeededGenerator(seed: seed ^ input.hash ^ (number &* 0x9e37_79b9_7f4a_7c15))
      mutable.mutate(&random)
      let outcome = check(mutable.bytes, number, &random)
      report.count += 1
      report.outcomes[outcome.name, default: 0] += 1
      mutable.undo()
    }
    guardrail.end(thread: thread)
    report.seconds = Double(DispatchTime.now().uptimeNanoseconds - begin) / 1e9
    return report
  }

  /// Decodes at once; now and then also in pieces, which must come to the same.
  private func check(
    _ bytes: UnsafeRawBufferPointer, _ number: UInt64, _ random: inout SeededGenerator
  ) -> Outcome {
    let isDeep = number % 4 == 0
    var whole = Decoding(deep: isDeep)
    let outcome = decode(bytes, &whole)
    if number % 4 == 1 && input.kind != .returnPath {
      var pieces = Decoding(chunk: Int.random(in: 300...70_000, using: &random))
      let other = decode(bytes, &pieces)
      whole.require(
        other == outcome, "in pieces of \(pieces.chunk) bytes \(other), at once \(outcome)")
      whole.require(pieces.violation == nil, pieces.violation ?? "")
    }
    if number % 8 == 3 {
      // In memory that ends with the bytes, so that the address sanitizer sees a read beyond them.
      var exact = Decoding()
      let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
      defer { copy.deallocate() }
      copy.copyMemory(from: bytes)
      let other = decode(UnsafeRawBufferPointer(copy), &exact)
      whole.require(other == outcome, "again \(other), first \(outcome)")
    }
    if let violation = whole.violation { guardrail.fail(violation, thread: thread) }
    return outcome
  }

  private func decode(_ bytes: UnsafeRawBufferPointer, _ decoding: inout Decoding) -> Outcome {
    input.decode(bytes, &decoding)
  }
}

extension Input {
  /// Decodes bytes as what the file is.
  func decode(_ bytes: UnsafeRawBufferPointer, _ decoding: inout Decoding) -> Outcome {
    switch kind {
    case .main: decoding.main(bytes)
    case .channel: decoding.channel(bytes)
    case .linkChannel: decoding.channel(bytes, LinkFrames.dialect)
    case .returnPath: decoding.returnPath(bytes, framed: framed)
    case .linkHello: decoding.linkHello(bytes)
    case .linkAnswer: decoding.linkAnswer(bytes)
    case .linkReference: decoding.linkReference(bytes)
    }
  }
}
