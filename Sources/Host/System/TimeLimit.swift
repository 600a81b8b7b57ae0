extension Double {
  /// Seconds that a timer can count, whatever was asked for: 0 to ten years. What is no number is 0, for a limit that
  /// nobody meant must show at once.
  package var timeLimit: Double { isNaN ? 0 : min(max(self, 0), 3e8) }
}
