// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What ERC-7053 (status Final) asks of a contract that takes commits.
interface IERC7053 {
    /// @param recorder   who sent the transaction; anyone may commit for any CID, so a reader filters on this.
    /// @param assetCid   the chain keeps keccak256 of its text only.
    /// @param commitData opaque to the standard; docs/spec/erc7053-anchor.md says what Tallystick writes.
    event Commit(address indexed recorder, string indexed assetCid, string commitData);

    /// @return blockNumber the block that holds the event.
    function commit(string calldata assetCid, string calldata commitData) external returns (uint256 blockNumber);
}

/// @title A registry of commits that owns nothing, has no owner, keeps no storage and can refuse nobody.
/// @notice Commits are found by the event's topics, recorder and CID. The list of blocks per CID of the standard's
/// reference implementation is left out: docs/adr/0010-chains-without-a-client-library.md has the figures.
contract CommitRegistry is IERC7053 {
    /// @inheritdoc IERC7053
    function commit(string calldata assetCid, string calldata commitData) external returns (uint256 blockNumber) {
        emit Commit(msg.sender, assetCid, commitData);
        return block.number;
    }
}
