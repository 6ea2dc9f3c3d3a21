"""The sending side: loads, faults, the reliable sender, the self-test's probe."""
