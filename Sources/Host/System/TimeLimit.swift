// The one rule for numbers of seconds: what an operator may ask for, and what is made of it.

extension Double {
  /// The longest time-out: a day.
  package static let longestTimeOut = 86_400.0

  /// Whether it is a time-out that somebody can mean: a number, more than 0, at most a day.
  package var isTimeOut: Bool { self > 0 && self <= Self.longestTimeOut }

  /// Seconds that a timer can count, whatever was asked for: 0 to ten years. What is no number is
  /// 0, for a limit that nobody meant must show at once.
  package var timeLimit: Double { isNaN ? 0 : min(max(self, 0), 3e8) }
}
