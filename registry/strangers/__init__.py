"""Files that come from elsewhere: bundles and adapters' files, trusted in nothing."""
