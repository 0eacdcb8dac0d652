"""Actor critic with a tape that stays open for an episode, in a corridor instead of a gym."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

seed = 42
keras.utils.set_random_seed(seed)
gamma = 0.9  # Discount factor for past rewards
max_steps_per_episode = 12
eps = np.finfo(np.float32).eps.item()


class Corridor:
    """Walk from 0 to 3; a step right is rewarded, the observation is noisy."""

    def reset(self):
        self.place = 0
        return self._observe()

    def step(self, action):
        self.place += 1 if action == 1 else -1
        return self._observe(), float(action == 1), abs(self.place) >= 3

    def _observe(self):
        return np.array(
            [self.place / 3, np.sin(self.place), 1.0, 0.1 * np.random.randn()], "float32"
        )


num_inputs, num_actions, num_hidden = 4, 2, 32
inputs = layers.Input(shape=(num_inputs,))
common = layers.Dense(num_hidden, activation="relu")(inputs)
action = layers.Dense(num_actions, activation="softmax")(common)
# fault SD101: critic = layers.Dense(1, activation="softmax")(common)
critic = layers.Dense(1)(common)
model = keras.Model(inputs=inputs, outputs=[action, critic])

env = Corridor()
optimizer = keras.optimizers.Adam(learning_rate=0.01)
huber_loss = keras.losses.Huber()
running_reward = 0

for episode in range(9):
    action_probs_history, critic_value_history, rewards_history = [], [], []
    state = env.reset()
    with tf.GradientTape() as tape:
        for timestep in range(1, max_steps_per_episode):
            state = ops.expand_dims(ops.convert_to_tensor(state), 0)
            # Predict action probabilities and estimated future rewards
            action_probs, critic_value = model(state)
            critic_value_history.append(critic_value[0, 0])
            probabilities = np.squeeze(ops.convert_to_numpy(action_probs))
            action = np.random.choice(num_actions, p=probabilities / probabilities.sum())
            action_probs_history.append(ops.log(action_probs[0, action]))
            state, reward, done = env.step(action)
            rewards_history.append(reward)
            if done:
                break
        running_reward = 0.1 * sum(rewards_history) + 0.9 * running_reward

        # Calculate expected value from rewards
        returns, discounted_sum = [], 0
        for r in rewards_history[::-1]:
            discounted_sum = r + gamma * discounted_sum
            returns.insert(0, discounted_sum)
        returns = np.array(returns)
        returns = (returns - np.mean(returns)) / (np.std(returns) + eps)

        actor_losses, critic_losses = [], []
        for log_prob, value, ret in zip(action_probs_history, critic_value_history, returns):
            diff = ret - value
            actor_losses.append(-log_prob * diff)
            critic_losses.append(
                huber_loss(ops.expand_dims(value, 0), ops.expand_dims(ops.cast(ret, "float32"), 0))
            )
        loss_value = sum(actor_losses) + sum(critic_losses)
    grads = tape.gradient(loss_value, model.trainable_variables)
    optimizer.apply_gradients(zip(grads, model.trainable_variables))

print(f"running reward: {running_reward:.2f}")
