import ArgumentParser
import TestSupport

extension BenchRelay {
  /// What is between the two machines.
  enum Link: ExpressibleByArgument, CustomStringConvertible {
    /// There is one machine only.
    case loopback
    /// So many 10^6 bits a second.
    case limited(Int)

    init?(argument: String) {
      if argument == "none" {
        self = .loopback
      } else if let megabits = Int(argument), (10...100_000).contains(megabits) {
        self = .limited(megabits)
      } else {
        return nil
      }
    }

    var description: String {
      switch self {
      case .loopback: "loopback"
      case .limited(let megabits): "\(megabits) Mbit/s"
      }
    }

    var defaultValueDescription: String {
      switch self {
      case .loopback: "none"
      case .limited(let megabits): "\(megabits)"
      }
    }

    /// A guest that a direct migration moves within some 40 s.
    func memory(_ wanted: Int) -> Int {
      switch self {
      case .loopback: wanted
      case .limited(let megabits): max(192, min(wanted / 2, megabits * 4 / 32 * 32))
      }
    }

    /// Which formats say something here: without a limit those that need no processor, of random
    /// pages those that do not try in vain.
    func formats(_ all: [String], _ mix: String) -> [String] {
      switch (self, mix) {
      case (.loopback, "text"), (.limited, "rand"): all.filter { ["raw", "auto"].contains($0) }
      case (.loopback, _): []
      case (.limited, _): all
      }
    }

    /// Lays it; nil, and said, where it cannot be had.
    func lay() -> Cable? {
      guard case .limited(let megabits) = self else { return .loopback }
      do { return .limited(try LimitedLink(megabits: megabits)) } catch {
        SkipReason("\(error)").announce("bench relay, a link of \(self)")
        return nil
      }
    }
  }

  /// A link that is there.
  enum Cable {
    case loopback
    case limited(LimitedLink)

    func remove() { if case .limited(let link) = self { link.remove() } }

    /// What starts a program at the source's end.
    var near: [String] { if case .limited(let link) = self { link.near.wrapper } else { [] } }

    /// What starts a program at the destination's end.
    var far: [String] { if case .limited(let link) = self { link.far.wrapper } else { [] } }

    /// The destination's address, for the source.
    var address: String {
      if case .limited(let link) = self { link.far.address } else { "127.0.0.1" }
    }
  }
}
